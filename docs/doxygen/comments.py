#!/usr/bin/env python3
"""Doxygen's input filter: makes documentation of the plain comments of a header.

A comment before a declaration, or behind it, documents it; the one at the top of a file documents the file. In vmm/c.h
what has no comment of its own is documented by the member of the same name of the C++ interface, as its first comment
says; doxygen then warns where there is no such member. Lines keep their numbers. (What is behind a declaration becomes
/**< ... */, since ///< would go on in a comment that follows.)
"""

import re
import sys

# Types of vmm/c.h whose names are not those of C++ in other letters.
C_TYPES = {'vmm_latency': 'LatencySummary', 'vmm_balloon_range': 'BalloonRange', 'vmm_event': 'Event',
           'vmm_capability': 'Capability'}
# What the enumerators VMM_<prefix>_... stand for.
C_ENUMS = {'LADDER': 'MemoryLadder', 'PLACEMENT': 'InitialPlacement', 'SCHEDULER': 'Scheduler',
           'ISOLATION': 'Isolation', 'SWAP_IO': 'SwapIo', 'MANAGEMENT': 'Management', 'ATTACH': 'Attach',
           'STATE': 'MemoryState', 'EVENT': 'EventKind', 'LEVEL': 'CapabilityLevel',
           'CAPABILITY': 'CapabilityState'}
# What every type has, and needs no words of its own.
ORDINARY = [(r'explicit operator bool', 'False: an inert handle, made by default or moved from.'),
            (r'(\w+)\(\1&&\)', 'Moves; what is moved from is inert.'),
            (r'(\w+)& operator=\(\1&&\)', 'Moves, and ends what this was; what is moved from is inert.'),
            (r'bool operator==\(const', 'Member by member.'),
            (r'(explicit )?\w+\(std::shared_ptr<', 'For the library.')]
# Members that say of every struct the same.
C_MEMBERS = {'size': 'sizeof of the struct.', 'unused': '0.', 'set': 'Which fields are given.'}


def escaped(text):
    text = re.sub(r'([\\@<>#"])', r'\\\1', text)
    return re.sub(r'%(?=\w)', '%%', text)


def cpp_type(name):
    return C_TYPES.get(name) or ''.join(part.capitalize() for part in name.split('_')[1:])


def same(name):
    return f'As in C++: @ref vmm::{name} "{name}".'


def enumerator(name):
    """VMM_LADDER_CLASSIC: vmm::MemoryLadder::classic."""
    for prefix, kind in C_ENUMS.items():
        if name.startswith(f'VMM_{prefix}_'):
            return f'{name} /**< {same(kind + "::" + name[len(prefix) + 5:].lower())} */'
    return name


class Filter:
    def __init__(self, path):
        self.in_c = path.endswith('/c.h')
        self.at_top = True      # in the comment that the file begins with
        self.behind = None      # column of the comment behind a declaration that may go on
        self.documented = False  # the line before was a comment
        self.struct = None      # that is being defined, of vmm/c.h or one of changes
        self.in_enum = False

    def line(self, line):
        comment = re.match(r'(\s*)//( ?)(.*)$', line)
        if comment:
            return self.comment(*comment.groups())
        self.at_top = self.at_top and not line.strip()
        behind = re.match(r'(.*?\S\s*)// (.*)$', line)
        if behind and '"' not in behind[1]:
            self.behind = len(behind[1])
            code, note = behind[1], f'/**< {escaped(behind[2])} */'
        else:
            self.behind = None
            code, note = line, ''
        if self.in_c:
            code = self.from_cpp(code, bool(note))
        else:
            code = self.ordinary(code, self.documented or bool(note))
        self.documented = False
        return code + note

    def comment(self, indent, space, text):
        if text.startswith('----'):
            self.documented = False
            return ''
        if self.behind is not None and len(indent) == self.behind:
            return f'{indent}/**< {escaped(text)} */'
        self.behind = None
        self.documented = True
        if text.startswith('  '):  # code, after an empty line
            return f'{indent}///     {escaped(text)}'
        text = escaped(text)
        if self.at_top:
            self.at_top = False
            text = f'@file\n/// {text}'
            return f'{indent}/// {text}'
        return f'{indent}/// {text}'

    def ordinary(self, code, documented):
        if re.match(r'template <>|struct std::', code):
            return ''  # doxygen knows no std
        code = re.sub(r'\blocal =', 'local=', code)  # "local " is a word of IDL to it
        change = re.match(r'struct (\w+)Change \{', code)
        self.struct = change[1] if change else None if code.startswith('}') else self.struct
        if documented:
            return code
        for pattern, words in ORDINARY:
            if re.match(r'\s+' + pattern, code):
                return f'/** {words} */ {code}'
        field = re.match(r'\s+std::optional<.*> (\w+)\{\};', code)
        if self.struct and field:
            return f'{code} /**< @ref vmm::{self.struct}Options::{field[1]} "{self.struct}Options::{field[1]}" */'
        return code

    def from_cpp(self, code, noted):
        """Documents what has no words of its own."""
        documented = self.documented or noted
        start = re.match(r'typedef struct (\w+) \{', code)
        if start:
            self.struct = start[1]
            return code if documented else f'/** @ref vmm::{cpp_type(start[1])} in C. */ {code}'
        if code.startswith('}'):
            self.struct, self.in_enum = None, False
            return code
        if code.startswith('enum'):
            self.in_enum = not code.rstrip().endswith(';')
            named = re.sub(r'\bVMM_[A-Z0-9_]+', lambda m: enumerator(m[0]), code)
            kind = next((k for p, k in C_ENUMS.items() if f'VMM_{p}_' in code or p == 'EVENT' and self.in_enum), None)
            return named if documented else f'/** @ref vmm::{kind} in C. */ {named}'
        if self.in_enum:
            return re.sub(r'\bVMM_[A-Z0-9_]+,?', lambda m: enumerator(m[0].rstrip(',')) + ',', code)
        if documented:
            return code
        if self.struct:
            return self.member(code)
        macro = re.match(r'#define VMM_(HOST|GUEST|POOL)_(\w+) ', code)
        if macro:
            field = macro[2].lower()
            return f'{code} /**< Bit of `set` that says that {field} is given. */'
        opaque = re.match(r'typedef struct (\w+) \1;', code)
        if opaque:
            return f'{code} /**< A handle: @ref vmm::{cpp_type(opaque[1])} in C. */'
        return self.function(code)

    def member(self, code):
        name = re.match(r'\s*(?:const )?[\w]+\*? (\w+);\s*$', code)
        if not name:
            return code
        if name[1] in C_MEMBERS:
            return f'{code} /**< {C_MEMBERS[name[1]]} */'
        field = re.sub(r'_ms$', '', name[1]) if self.struct != 'vmm_host_stats' else name[1]
        field = {'time_ns': 'time'}.get(field, field) if self.struct == 'vmm_event' else field
        return f'{code} /**< {same(cpp_type(self.struct) + "::" + field)} */'

    def function(self, code):
        name = re.match(r'VMM_API .*?\b(vmm_\w+)\(', code)
        if not name:
            return code
        init = re.match(r'(vmm_\w+)_init$', name[1])
        if init:
            return f'/** Sets `size`, and the defaults of all members. -EINVAL: as vmm_host_options_init(). */ {code}'
        member = re.match(r'vmm_(host|guest)_(\w+)$', name[1])
        if not member:
            return code
        text = re.match(r'stats_(json|prometheus|csv)$', member[2])
        if text:
            return f'/** The text of @ref vmm::to_{text[1]}(const HostStats&) "to_{text[1]}()". */ {code}'
        function = {'get_stats': 'stats', 'create': 'create_guest'}.get(member[2], member[2])
        owner = 'Host' if name[1] == 'vmm_guest_create' else member[1].capitalize()
        return f'/** {same(owner + "::" + function)} */ {code}'


def main():
    if len(sys.argv) != 2:
        sys.exit('usage: comments.py <header>')
    lines = Filter(sys.argv[1])
    with open(sys.argv[1], encoding='utf-8') as header:
        for line in header:
            print(lines.line(line.rstrip('\n')))


if __name__ == '__main__':
    main()
