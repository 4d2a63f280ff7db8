#!/usr/bin/env python3
"""check_man_pages.py <source>: libvmm(3) names every public function, type and error of the headers, libvmm(7) every
option with its default, and which of them can be changed; and mandoc has nothing to say about either. Then the same
check is shown to fail where they differ."""

import pathlib
import re
import shutil
import subprocess
import sys

import interface

STRUCTS = {'OPTIONS OF A HOST': ('options.h', 'HostOptions', 'HostChange'),
           'OPTIONS OF A GUEST': ('options.h', 'GuestOptions', 'GuestChange'),
           'OPTIONS OF A POOL': ('pool.h', 'PoolOptions', None)}

# Functions of structs, and what stands for many.
OF_STRUCTS = ('Capabilities::find', 'Capabilities::has', 'Error::message', 'vmm_', '_init')


def options_of_page(page):
    """{section: {option: (default, whether it is marked with *)}}"""
    found = {}
    for section in re.split(r'^\.Sh ', page, flags=re.M)[1:]:
        title, _, text = section.partition('\n')
        found[title] = {name: (default, star == '* ') for name, default, star in
                        re.findall(r'^\.It Va (\w+) No = (.+)\n(\* )?', text, re.M)}
    return found


def check_options(page, headers):
    complaints = []
    documented = options_of_page(page)
    for section, (file, struct, change) in STRUCTS.items():
        declared = interface.fields(headers[file], struct)
        told = documented.get(section, {})
        if len(declared) < 4:
            complaints.append(f'{file}: no members of {struct} were found')
        complaints += [f'libvmm(7) lacks {struct}::{name}' for name in declared if name not in told]
        complaints += [f'libvmm(7) tells of {struct}::{name}, which {file} does not have' for name in told
                       if name not in declared]
        complaints += [f'{struct}::{name} is {declared[name]}, libvmm(7) says {told[name][0]}' for name in declared
                       if name in told and told[name][0] != declared[name]]
        if change:
            changed = set(re.findall(r'> (\w+)\{\}', interface.body(headers[file], f'struct {change}')))
            complaints += [f'{struct}::{name}: whether it is in {change}, libvmm(7) does not say by its *'
                           for name in declared if name in told and told[name][1] != (name in changed)]
    return complaints


def public_names(headers):
    names = set()
    for file, text in headers.items():
        code = interface.without_comments(text)
        if file == 'c.h':
            names |= set(re.findall(r'^VMM_API .*?\b(vmm_\w+)\(', code, re.M))
            continue
        names |= set(interface.functions_of_classes(text))
        names |= set(re.findall(r'^(?:struct|class|enum class)(?: VMM_API)? (\w+)(?= final| :| \{)', code, re.M))
        names |= set(re.findall(r'^(?:VMM_API|inline) .*?\b(\w+)\(', code, re.M))
        names |= set(re.findall(r'^inline constexpr std::uint64_t (\w+)', code, re.M))
    names |= set(re.findall(r'^ {2}(\w+)(?: = 1)?,', interface.body(headers['result.h'], 'enum class Errc'), re.M))
    return names


def check_names(page, headers):
    names = public_names(headers)
    words = set(re.findall(r'[\w:]+', page)) | set(re.findall(r'\w+', page))
    complaints = [f'libvmm(3) lacks {name}' for name in sorted(names) if name not in words]
    # What it calls a function is one.
    for name in re.findall(r'^\.(?:Fn|It Fn) (.*)$', page, re.M):
        complaints += [f'libvmm(3) names {word}, which no header has' for word in re.findall(r'[\w:]{3,}', name)
                       if word not in names and word not in OF_STRUCTS]
    for file in headers:
        if f'vmm/{file}' not in page and file != 'vmm.h':
            complaints.append(f'libvmm(3) lacks vmm/{file}')
    if len(names) < 100:
        complaints.append(f'only {len(names)} names were found in the headers')
    return complaints


def expect(complaints, text):
    if not any(text in complaint for complaint in complaints):
        sys.exit(f'the check does not complain of {text!r}: {complaints}')


def check_the_check(pages, headers):
    other = dict(headers)
    other['options.h'] = headers['options.h'].replace('swap_in_batch_pages = 64', 'swap_in_batch_pages = 63')
    expect(check_options(pages[7], other), 'HostOptions::swap_in_batch_pages is 63')
    other['options.h'] = headers['options.h'].replace('seconds(60)', 'seconds(61)')
    expect(check_options(pages[7], other), 'HostOptions::sample_period is 61 s')
    other['options.h'] = re.sub('struct GuestOptions {', r'\g<0>\n  bool fresh = true;', headers['options.h'])
    expect(check_options(pages[7], other), 'lacks GuestOptions::fresh')
    expect(check_options(pages[7].replace('* How long', 'How long'), headers), 'HostOptions::stop_timeout')
    expect(check_names(pages[3].replace('Guest::rehome', 'Guest::remove'), headers), 'lacks Guest::rehome')
    expect(check_names(pages[3].replace('.It Fn Host::tick', '.It Fn Host::tack , Host::tick'), headers), 'Host::tack')
    expect(check_names(pages[3].replace('pin_limit', 'pin'), headers), 'lacks pin_limit')


def main():
    source = pathlib.Path(sys.argv[1])
    headers = interface.headers(source)
    paths = {section: source / f'docs/man/libvmm.{section}' for section in (3, 7)}
    pages = {section: path.read_text(encoding='utf-8') for section, path in paths.items()}
    complaints = check_options(pages[7], headers) + check_names(pages[3], headers)
    if complaints:
        sys.exit('\n'.join(complaints))
    check_the_check(pages, headers)
    if not shutil.which('mandoc'):
        print('skipped: mandoc is not installed, which checks how the pages are written')
        sys.exit(77)
    lint = subprocess.run(['mandoc', '-Tlint', '-Wwarning', *map(str, paths.values())], capture_output=True, text=True,
                          check=False).stdout.splitlines()
    # Pages that this machine does not have may be referred to.
    lint = [line for line in lint if 'referenced manual not found' not in line]
    if lint:
        sys.exit('\n'.join(lint))


if __name__ == '__main__':
    main()
