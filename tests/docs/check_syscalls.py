#!/usr/bin/env python3
"""check_syscalls.py <source> <features>: docs/syscalls.md names every system call that the library makes.

Runs each feature of tests/docs/features.cc under strace and compares the calls, by thread and by feature, with the
tables; compares them with the functions that lib/os calls; and runs each feature under the seccomp profile in
examples/deploy, every other call being fatal. Exit status 77, and the reason: strace is missing or may not trace.
"""

import ctypes
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

# Threads of features.cc that are not the library's, and the program before it begins.
OTHERS = ('strace', 'features', 'other')
# Functions of the C library that are called otherwise than the system call that they make.
C_LIBRARY = {'open': 'openat', 'mkostemp': 'openat', 'lstat': 'newfstatat', 'fstat': 'newfstatat', 'pread': 'pread64',
             'pwrite': 'pwrite64', 'statvfs': 'statfs', 'eventfd': 'eventfd2', 'recv': 'recvfrom', 'send': 'sendto',
             'getrlimit': 'prlimit64', 'sigpending': 'rt_sigpending', 'sigtimedwait': 'rt_sigtimedwait',
             'sched_getcpu': 'getcpu', 'pthread_sigmask': 'rt_sigprocmask', 'pthread_create': 'clone3',
             'pthread_join': 'futex', 'pthread_setname_np': 'prctl', 'io_uring_queue_init': 'io_uring_setup',
             'io_uring_submit': 'io_uring_enter', 'io_uring_submit_and_wait': 'io_uring_enter',
             'io_uring_wait_cqe': 'io_uring_enter', 'io_uring_queue_exit': 'munmap'}
# Those that make none.
PURE = re.compile(r'sig(fill|empty|add|ismember)\w*$|pthread_(self|detach)$|secure_getenv$|'
                  r'io_uring_(prep|get|sqe|sq|cq|cqe|peek)\w*$')
KILL, ALLOW = 0x80000000, 0x7fff0000


def table(document, heading):
    """{first column: (its text, the calls in the second)} of the table below a heading."""
    text = document.split(f'\n## {heading}\n')[1].split('\n## ')[0]
    rows = re.findall(r'^\| (.*?) \| (.*) \|$', text, re.M)[1:]
    return [(first, set(re.findall(r'`(\w+)`', second))) for first, second in rows]


class Document:
    def __init__(self, text):
        self.threads, self.every, self.features = {}, set(), {}
        for first, calls in table(text, 'By thread'):
            if first == 'every thread':
                self.every = calls
            for name in re.findall(r'`([\w/-]+)`', first):
                self.threads[name.replace('/N', '')] = calls
        for first, calls in table(text, 'By feature'):
            if first.startswith('every'):
                self.host = calls
            for name in re.findall(r'`(\w+)`', first):
                self.features[name] = calls
        rows = re.findall(r'^\| (.*?) \| (.*) \|$', text.split('\n## Only sometimes\n')[1].split('\n## ')[0], re.M)[1:]
        self.sometimes = set(re.findall(r'`(\w+)`', ' '.join(first for first, _ in rows)))

    def all(self):
        return set().union(self.every, self.host, self.sometimes, *self.threads.values(), *self.features.values())


def traced(strace, program, feature):
    """{(thread, call)} of one feature, or None and why not."""
    with tempfile.NamedTemporaryFile(mode='r', errors='replace') as log:
        run = subprocess.run([strace, '-f', '-Y', '-qq', '-o', log.name, program, feature], capture_output=True,
                             text=True, check=False)
        found = set(re.findall(r'^\d+<([^>]*)> (?:<\.\.\. )?(\w+)(?:\(| resumed)', log.read(), re.M))
    if run.returncode == 77:
        return set(), run.stderr
    if run.returncode != 0:
        return None, run.stderr
    return found, ''


def check_traces(document, calls):
    """`calls`: {feature: {(thread, call)}}."""
    complaints, seen = set(), set()
    for feature, pairs in calls.items():
        if feature not in document.features:
            complaints.add(f'docs/syscalls.md: no row of "By feature" has `{feature}`')
            continue
        for thread, call in pairs:
            if thread in OTHERS:
                continue
            seen.add(call)
            thread = thread.partition('/')[0]
            if thread == 'caller':
                allowed = document.host | document.features[feature]
            elif thread in document.threads:
                allowed = document.threads[thread]
            else:
                complaints.add(f'docs/syscalls.md: "By thread" lacks {thread}')
                continue
            if call not in allowed | document.every and call not in document.sometimes:
                complaints.add(f'docs/syscalls.md: {thread} makes {call} (feature {feature})')
    # Where a feature cannot be had, nobody knows.
    stale = document.all() - document.sometimes - seen if all(calls.values()) else set()
    complaints |= {f'docs/syscalls.md names {call}, which no feature makes: is it one of "Only sometimes"?'
                   for call in stale}
    return sorted(complaints)


def calls_of_source(source):
    found = set()
    for path in pathlib.Path(source, 'lib/os').iterdir():
        text = re.sub(r'//[^\n]*', '', path.read_text(encoding='utf-8'))
        found |= {(path.name, name) for name in re.findall(r'(?<![\w>:])::([a-z_0-9]+)\(', text)}
        found |= {(path.name, name) for name in re.findall(r'\bSYS_(\w+)', text)}
    return found


def check_source(document, found):
    complaints = []
    for file, name in sorted(found):
        call = C_LIBRARY.get(name, name)
        if name != 'syscall' and not PURE.match(name) and call not in document.all():
            complaints.append(f'lib/os/{file} calls {name}: docs/syscalls.md lacks {call}')
    if len(found) < 100:
        complaints.append(f'only {len(found)} calls were found in lib/os')
    return complaints


def numbers():
    """{name: number} of this machine's calls."""
    for path in ('/usr/include/x86_64-linux-gnu/asm/unistd_64.h', '/usr/include/asm/unistd_64.h'):
        if pathlib.Path(path).exists():
            text = pathlib.Path(path).read_text(encoding='ascii')
            return {name: int(number) for name, number in re.findall(r'#define __NR_(\w+) (\d+)', text)}
    print('skipped: asm/unistd_64.h is missing, by which calls are known')
    sys.exit(77)


def allowed_by(profile):
    if profile['defaultAction'] != 'SCMP_ACT_ERRNO' or profile['architectures'] != ['SCMP_ARCH_X86_64']:
        sys.exit('examples/deploy/seccomp.json: what is not named is to be refused, on x86-64')
    return [name for entry in profile['syscalls'] for name in entry['names'] if entry['action'] == 'SCMP_ACT_ALLOW']


def run_restricted(names, program, feature):
    """Runs it with those calls alone, in a process that makes no other between the filter and exec."""
    return subprocess.run([sys.executable, __file__, '--restricted', ','.join(names), program, feature],
                          capture_output=True, text=True, check=False)


def restricted(names, program, feature):
    known = numbers()
    code = [(0x20, 0, 0, 0)]  # the call's number
    for name in names.split(','):
        code += [(0x15, 0, 1, known[name]), (0x06, 0, 0, ALLOW)]
    code.append((0x06, 0, 0, KILL))
    buffer = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *instruction) for instruction in code))
    filters = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(code), ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    command = [program.encode(), feature.encode()]
    arguments = (ctypes.c_char_p * 3)(*command, None)
    # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP with SECCOMP_MODE_FILTER
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.byref(filters), 0, 0) != 0:
        sys.exit(f'no seccomp filter can be had: errno {ctypes.get_errno()}')
    libc.execv(command[0], arguments)


def check_profile(document, profile, program, features):
    known = numbers()
    names = allowed_by(profile)
    complaints = [f'examples/deploy/seccomp.json: there is no call {name}' for name in names if name not in known]
    complaints += [f'examples/deploy/seccomp.json lacks {name}' for name in sorted(document.all())
                   if name in known and name not in names]
    if complaints:
        return complaints
    for feature in features:
        run = run_restricted(names, program, feature)
        if run.returncode not in (0, 77):
            complaints.append(f'{feature}, with the calls of examples/deploy/seccomp.json alone: '
                              f'{run.stderr or "status " + str(run.returncode)}')
    # The filter is there: without a call that every feature makes, none works.
    run = run_restricted([name for name in names if name != 'mbind'], program, 'swap')
    if run.returncode != -31:
        complaints.append(f'a call that is not permitted is not fatal: status {run.returncode}, {run.stderr}')
    return complaints


def check_the_check(document, calls, found):
    other = Document(document)
    other.threads['vmm-work'] = other.threads['vmm-work'] - {'mremap'}
    other.host = other.host - {'fallocate'}
    complaints = check_traces(other, calls)
    for expected in ('vmm-work makes mremap', 'caller makes fallocate'):
        if not any(expected in complaint for complaint in complaints):
            sys.exit(f'the check does not complain that {expected}: {complaints}')
    if not check_source(other, found | {('x.cc', 'chroot')}):
        sys.exit('the check does not complain of a new call of lib/os')


def main():
    if sys.argv[1] == '--restricted':
        restricted(*sys.argv[2:])
    source, program = pathlib.Path(sys.argv[1]), sys.argv[2]
    text = pathlib.Path(source, 'docs/syscalls.md').read_text(encoding='utf-8')
    document, found = Document(text), calls_of_source(source)
    features = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    complaints = check_source(document, found)
    complaints += [f'docs/syscalls.md tells of the feature {name}, which {program} does not have'
                   for name in document.features if name not in features]
    profile = json.loads(pathlib.Path(source, 'examples/deploy/seccomp.json').read_text(encoding='utf-8'))
    complaints += check_profile(document, profile, program, features)

    strace, calls, why = shutil.which('strace'), {}, 'strace is not installed'
    for feature in features if strace else []:
        calls[feature], why = traced(strace, program, feature)
        if why:
            print(f'{feature}: {why}', file=sys.stderr)
        if calls[feature] is None:
            break
    traces = calls and None not in calls.values()
    if traces:
        complaints += check_traces(document, calls)
    if complaints:
        sys.exit('\n'.join(complaints))
    if not traces:
        print(f'skipped: no system calls can be watched: {why}')
        sys.exit(77)
    check_the_check(text, calls, found)


if __name__ == '__main__':
    main()
