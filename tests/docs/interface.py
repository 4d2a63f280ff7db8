"""What the headers of include/vmm declare, as far as the tests of the documentation need it."""

import pathlib
import re


def headers(source):
    return {path.name: path.read_text(encoding='utf-8')
            for path in sorted(pathlib.Path(source, 'include/vmm').glob('*.h'))}


def without_comments(text):
    return re.sub(r'//[^\n]*', '', text)


def body(text, declaration):
    """What stands in the braces of `declaration`, without comments."""
    found = re.search(declaration + r'[^{;]*\{', text)
    if not found:
        raise SystemExit(f'the headers have no {declaration}')
    return without_comments(text[found.end():text.index('\n}', found.end())])


def default_of(kind, value):
    """A default as the manual page writes it: 300 s, classic, empty, none."""
    if value is None:
        return 'none' if 'optional' in kind else 'empty'
    value = value.strip()
    time = re.fullmatch(r'std::chrono::(seconds|minutes|milliseconds)\((\d+)\)', value)
    if time:
        return f'{time[2]} {dict(seconds="s", minutes="min", milliseconds="ms")[time[1]]}'
    if value in ('{}', '""'):
        return 'empty'
    return re.sub(r'^\w+::(\w+)(\(\))?$', r'\1', value).strip('"')


def fields(text, struct):
    """The members of a struct of options: their defaults by their names, in order."""
    found = {}
    declarations = re.findall(r'^ {2}([\w:<>]+) (\w+)(?: = ([^;]+)|\{\})?;', body(text, f'struct {struct}'), re.M)
    for kind, name, value in declarations:
        found[name] = default_of(kind, value or None)
    return found


def functions_of_classes(text):
    """Public functions as Class::function, but for those that every class has."""
    for name in re.findall(r'^class (?:VMM_API )?(\w+)[^;{]*\{', text, re.M):
        public = body(text, rf'class (?:VMM_API )?{name}\b').split('private:')[0]
        for function in re.findall(r'^ {2}(?!explicit)[\w:<>,&* ]*[\w>&*] (\w+)\(', public, re.M):
            if function != name:
                yield f'{name}::{function}'
