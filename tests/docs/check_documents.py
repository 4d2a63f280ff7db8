#!/usr/bin/env python3
"""check_documents.py <source>: what the documents say is there is there: README's program is examples/hello_guest, each
example is in README and has a test, links lead to files, and names of members, options, commands and programs are those
of the headers, of ./run and of the tree. Then the same check is shown to fail where they are not."""

import pathlib
import re
import sys

import interface

# Folders of examples that are no programs.
PARTS = ('plot', 'smaps', 'deploy')
# Documents in which every word in backticks that has an underscore is a name of the interface.
STRICT = ('README.md', 'docs/tuning.md', 'docs/threat-model.md')
# Such words that are not: of the kernel, of this project's tree, and of programs.
OTHER_WORDS = {'process_vm_readv', 'move_pages', 'io_uring_setup', 'io_uring_enter', 'hello_guest', 'page_sharing'}


def documents(source):
    paths = [source / 'README.md', source / 'CONTRIBUTING.md', *sorted((source / 'docs').glob('*.md'))]
    return {str(path.relative_to(source)): path.read_text(encoding='utf-8') for path in paths}


def check_program(readme, example):
    blocks = re.findall(r'^```cpp\n(.*?)^```$', readme, re.M | re.S)
    complaints = []
    if not blocks or blocks[0] != example:
        complaints.append('README.md: its first program is not examples/hello_guest/main.cc')
    lines = [line for line in example.splitlines() if line.strip() and not line.startswith('//')]
    if len(lines) > 20:
        complaints.append(f'examples/hello_guest/main.cc: {len(lines)} lines, 20 are promised')
    return complaints


def check_examples(readme, folders, tests):
    table = readme.split('\n## Examples\n')[1].split('\n## ')[0]
    named = set(re.findall(r'`examples/(\w+)`', table))
    complaints = [f'README.md: its examples lack {name}' for name in sorted(folders - named)]
    complaints += [f'README.md: there is no examples/{name}' for name in sorted(named - folders)]
    complaints += [f'no test runs examples/{name}' for name in sorted(folders)
                   if not re.search(rf'vmm_add_example_test\({name} |COMMAND [^)]*\b{name}\b', tests)]
    return complaints


def check_links(source, name, text):
    complaints = []
    for target in re.findall(r'\]\(([^)#\s]+)(?:#[^)]*)?\)', text):
        if re.match(r'\w+:', target):
            continue
        if not (source / name).parent.joinpath(target).exists():
            complaints.append(f'{name}: {target} is not there')
    return complaints


def members(headers):
    """{type: words in its definition}"""
    found = {}
    for text in headers.values():
        for kind in re.findall(r'^(?:struct|class|enum class)(?: VMM_API)? (?!std::)(\w+)[^;{]*\{', text, re.M):
            found[kind] = set(re.findall(r'\w+', interface.body(text, rf'(?:struct|class)(?: VMM_API)? {kind}\b')))
    return found


def check_names(name, text, known, words):
    complaints = []
    for kind, member in re.findall(r'\b(?:vmm::)?(\w+)::(\w+)', text):
        if kind in known and member not in known[kind]:
            complaints.append(f'{name}: the headers have no {kind}::{member}')
    if name in STRICT:
        prose = re.sub(r'^```.*?^```$', '', text, flags=re.M | re.S)
        complaints += [f'{name}: `{word}` is no name of the interface'
                       for word in re.findall(r'`([a-z0-9]+(?:_[a-z0-9]+)+)`', prose)
                       if word not in words and word not in OTHER_WORDS]
    return complaints


def check_commands(name, text, commands, programs):
    complaints = [f'{name}: ./run has no {command}' for command in re.findall(r'\./run ([a-z]+)', text)
                  if command not in commands]
    complaints += [f'{name}: there is no example {program}' for program in re.findall(r'/examples/(\w+)', text)
                   if program not in programs]
    return complaints


class Tree:
    def __init__(self, source):
        self.source, self.documents = source, documents(source)
        self.headers = interface.headers(source)
        self.members = members(self.headers)
        probes = ''.join(path.read_text(encoding='utf-8') for path in source.glob('lib/os/probe*.cc'))
        self.words = set(re.findall(r'\w+', ' '.join(self.headers.values()) + probes))
        self.folders = {path.name for path in (source / 'examples').iterdir() if path.is_dir()} - set(PARTS)
        self.tests = ''.join((source / 'tests' / name).read_text(encoding='utf-8')
                             for name in ('CMakeLists.txt', 'examples.cmake'))
        self.commands = re.findall(r'^ {2}([a-z]+)(?: \|[^)]*)?\)$', (source / 'run').read_text(encoding='utf-8'), re.M)
        self.example = (source / 'examples/hello_guest/main.cc').read_text(encoding='utf-8')

    def check(self):
        readme = self.documents['README.md']
        complaints = check_program(readme, self.example) + check_examples(readme, self.folders, self.tests)
        for name, text in self.documents.items():
            complaints += check_links(self.source, name, text)
            complaints += check_names(name, text, self.members, self.words)
            complaints += check_commands(name, text, self.commands, self.folders | set(PARTS))
        return complaints


def check_the_check(tree):
    good = dict(tree.documents)
    for change, expected in ((('words[i] = i', 'words[i] = 1'), 'its first program'),
                             (('| `examples/idle_tax`', '| `examples/tax`'), 'lack idle_tax'),
                             (('docs/tuning.md', 'docs/toning.md'), 'docs/toning.md is not there'),
                             (('HostOptions::stats_socket', 'HostOptions::socket'), 'no HostOptions::socket'),
                             (('`swap_persist`', '`swap_persists`'), '`swap_persists` is no name'),
                             (('./run demo', './run demonstration'), './run has no demonstration')):
        tree.documents = {**good, 'README.md': good['README.md'].replace(*change)}
        complaints = tree.check()
        if not any(expected in complaint for complaint in complaints):
            sys.exit(f'the check does not complain of {expected!r}: {complaints}')
    tree.documents = good


def main():
    tree = Tree(pathlib.Path(sys.argv[1]))
    complaints = tree.check()
    if complaints:
        sys.exit('\n'.join(complaints))
    check_the_check(tree)


if __name__ == '__main__':
    main()
