#include "sandbox_python.h"

/* Started by root without a user namespace, give up root here.  No further process or thread: a
 * fork bomb ends at its first fork.  Standard streams go nowhere. */
#define CONFINE                                                                                    \
    "import json, os, resource, sys\n"                                                             \
    "if os.getuid() == 0:\n"                                                                       \
    "    os.setgroups([])\n"                                                                       \
    "    os.setresgid(65534, 65534, 65534)\n"                                                      \
    "    os.setresuid(65534, 65534, 65534)\n"                                                      \
    "resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))\n"                                          \
    "if hasattr(sys, 'set_int_max_str_digits'):\n"                                                 \
    "    sys.set_int_max_str_digits(0)\n"                                                          \
    "job = json.load(sys.stdin)\n"                                                                 \
    "null = os.open('/dev/null', os.O_RDWR)\n"                                                     \
    "for fd in 0, 1, 2:\n"                                                                         \
    "    os.dup2(null, fd)\n"                                                                      \
    "receive, send = os.fdopen(3, 'rb'), os.fdopen(4, 'wb')\n"                                     \
    "LONGEST = 1 << 24\n"

/* Plain data as JSON, with a tag where JSON has no type of its own.  A subclass crosses as the
 * type that it extends, so no method of its own takes part in a comparison. */
#define PLAIN                                                                                      \
    "def encode(v):\n"                                                                             \
    "    if v is None or v is True or v is False:\n"                                               \
    "        return v\n"                                                                           \
    "    for kind in int, float, str:\n"                                                           \
    "        if isinstance(v, kind):\n"                                                            \
    "            return kind(v)\n"                                                                 \
    "    if isinstance(v, complex):\n"                                                             \
    "        return ['complex', v.real, v.imag]\n"                                                 \
    "    if isinstance(v, (bytes, bytearray)):\n"                                                  \
    "        return ['bytes', v.hex()]\n"                                                          \
    "    if isinstance(v, range):\n"                                                               \
    "        return ['range', v.start, v.stop, v.step]\n"                                          \
    "    if isinstance(v, dict):\n"                                                                \
    "        return ['dict'] + [[encode(k), encode(x)] for k, x in v.items()]\n"                   \
    "    for kind in list, tuple, set, frozenset:\n"                                               \
    "        if isinstance(v, kind):\n"                                                            \
    "            return [kind.__name__] + [encode(x) for x in v]\n"                                \
    "    raise TypeError('a value of type ' + type(v).__name__ + ' is not plain data')\n"          \
    "def decode(v):\n"                                                                             \
    "    if not isinstance(v, list):\n"                                                            \
    "        return v\n"                                                                           \
    "    tag, rest = v[0], v[1:]\n"                                                                \
    "    if tag == 'complex':\n"                                                                   \
    "        return complex(*rest)\n"                                                              \
    "    if tag == 'bytes':\n"                                                                     \
    "        return bytes.fromhex(rest[0])\n"                                                      \
    "    if tag == 'range':\n"                                                                     \
    "        return range(*rest)\n"                                                                \
    "    if tag == 'dict':\n"                                                                      \
    "        return {decode(k): decode(x) for k, x in rest}\n"                                     \
    "    kinds = {'list': list, 'tuple': tuple, 'set': set, 'frozenset': frozenset}\n"             \
    "    return kinds[tag](map(decode, rest))\n"                                                   \
    "def put(message):\n"                                                                          \
    "    send.write(json.dumps(message).encode() + b'\\n')\n"                                      \
    "    send.flush()\n"

/* "ready" before the first line of the program, so that a sandbox that did not start is told from
 * a program that ended. */
const char pq_sandbox_program[] = CONFINE PLAIN
    "put('ready')\n"
    "import types\n"
    "module = types.ModuleType('program')\n"
    "sys.modules['program'] = module\n"
    "def attempt(action):\n"
    "    try:\n"
    "        return {'result': encode(action())}\n"
    "    except BaseException as e:\n"
    "        return {'error': type(e).__name__, 'text': str(e)[:100]}\n"
    "def define():\n"
    "    exec(compile(job['program'], 'program', 'exec'), module.__dict__)\n"
    "    if not callable(module.__dict__.get(job['entry_point'])):\n"
    "        raise NameError(job['entry_point'] + ' is not defined')\n"
    "put(attempt(define))\n"
    "for line in receive:\n"
    "    args, kwargs = json.loads(line)\n"
    "    args, kwargs = decode(args), decode(kwargs)\n"
    "    put(attempt(lambda: module.__dict__[job['entry_point']](*args, **kwargs)))\n";

/* An exception crosses by name, so that a test may expect it; those that end a loop silently do
 * not.  The verdict is written after check() has returned, and nowhere else. */
const char pq_sandbox_test[] = CONFINE PLAIN
    "import builtins\n"
    "verdict = os.fdopen(5, 'w')\n"
    "verdict.write('ready\\n')\n"
    "verdict.flush()\n"
    "class ProgramEnded(BaseException):\n"
    "    pass\n"
    "class ProgramError(Exception):\n"
    "    pass\n"
    "def take():\n"
    "    line = receive.readline(LONGEST)\n"
    "    if not line.endswith(b'\\n'):\n"
    "        raise ProgramEnded('answered too much' if line else 'ended without an answer')\n"
    "    return json.loads(line)\n"
    "def answer():\n"
    "    message = take()\n"
    "    if 'error' not in message:\n"
    "        return decode(message['result'])\n"
    "    name, text = str(message['error']), str(message['text'])\n"
    "    kind = getattr(builtins, name, None)\n"
    "    silent = 'StopIteration', 'StopAsyncIteration'\n"
    "    if isinstance(kind, type) and issubclass(kind, Exception) and name not in silent:\n"
    "        raise kind(text)\n"
    "    raise ProgramError(name + ': ' + text)\n"
    "def candidate(*args, **kwargs):\n"
    "    put([encode(list(args)), encode(kwargs)])\n"
    "    return answer()\n"
    "def judge():\n"
    "    try:\n"
    "        take()\n"
    "    except ProgramEnded:\n"
    "        return 'broken'\n"
    "    try:\n"
    "        answer()\n"
    "        space = {'__name__': 'test'}\n"
    "        exec(compile(job['reference'], 'reference', 'exec'), space)\n"
    "        space[job['entry_point']] = candidate\n"
    "        exec(compile(job['test'], 'test', 'exec'), space)\n"
    "        space['check'](candidate)\n"
    "    except (ProgramEnded, BrokenPipeError):\n"
    "        return 'failed the program ended, or a limit ended it, before it answered'\n"
    "    except BaseException as e:\n"
    "        text = ascii(str(e))[1:-1][:110]\n"
    "        return 'failed ' + type(e).__name__ + (text and ': ' + text)\n"
    "    return 'passed'\n"
    "verdict.write(judge() + '\\n')\n"
    "verdict.flush()\n";
