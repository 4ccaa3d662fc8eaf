#include "sandbox_python.h"

/* Started by root without a user namespace, give up root here.  No further process or thread: a
 * fork bomb ends at its first fork.  Standard streams go nowhere.  The soft limit on processor
 * time raises OutOfTime; a second later the hard one kills whoever swallowed that. */
#define CONFINE                                                                                    \
    "import builtins, json, os, resource, signal, sys\n"                                           \
    "if os.getuid() == 0:\n"                                                                       \
    "    os.setgroups([])\n"                                                                       \
    "    os.setresgid(65534, 65534, 65534)\n"                                                      \
    "    os.setresuid(65534, 65534, 65534)\n"                                                      \
    "resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))\n"                                          \
    "class OutOfTime(BaseException):\n"                                                            \
    "    pass\n"                                                                                   \
    "def out_of_time(*_):\n"                                                                       \
    "    raise OutOfTime('more than %d s of processor time'\n"                                     \
    "                    % resource.getrlimit(resource.RLIMIT_CPU)[0])\n"                          \
    "signal.signal(signal.SIGXCPU, out_of_time)\n"                                                 \
    "if hasattr(sys, 'set_int_max_str_digits'):\n"                                                 \
    "    sys.set_int_max_str_digits(0)\n"                                                          \
    "job = json.load(sys.stdin)\n"                                                                 \
    "null = os.open('/dev/null', os.O_RDWR)\n"                                                     \
    "for fd in 0, 1, 2:\n"                                                                         \
    "    os.dup2(null, fd)\n"                                                                      \
    "receive, send = os.fdopen(3, 'rb'), os.fdopen(4, 'wb')\n"                                     \
    "LONGEST = 1 << 24\n"

/* Plain data as JSON, with a tag where JSON has no type of its own.  A subclass crosses as the
 * type that it extends, so no method of its own takes part in a comparison.  Anything else is an
 * ['object', where it is]: each side says what it makes of those (refer, find). */
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
    "    if isinstance(v, type) and getattr(builtins, v.__name__, None) is v:\n"                   \
    "        return ['type', v.__name__]\n"                                                        \
    "    return ['object', refer(v)]\n"                                                            \
    "def decode(v):\n"                                                                             \
    "    if not isinstance(v, list):\n"                                                            \
    "        return v\n"                                                                           \
    "    tag, rest = v[0], v[1:]\n"                                                                \
    "    if tag == 'object':\n"                                                                    \
    "        return find(rest[0])\n"                                                               \
    "    if tag == 'type':\n"                                                                      \
    "        return getattr(builtins, rest[0])\n"                                                  \
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
 * a program that ended.  A request is ["call", what, args, kwargs], ["get", what, name] or
 * ["set", what, name, value], where what is a name of the program or an object of a result, by its
 * number. */
const char pq_sandbox_program[] =
    CONFINE PLAIN "put('ready')\n"
                  "import types\n"
                  "module = types.ModuleType('program')\n"
                  "sys.modules['program'] = module\n"
                  "held = []\n"
                  "def refer(v):\n"
                  "    held.append(v)\n"
                  "    return len(held) - 1\n"
                  "def find(where):\n"
                  "    if isinstance(where, int):\n"
                  "        return held[where]\n"
                  "    if where not in module.__dict__:\n"
                  "        raise NameError(where + ' is not defined')\n"
                  "    return module.__dict__[where]\n"
                  "def attempt(action):\n"
                  "    try:\n"
                  "        return {'result': encode(action())}\n"
                  "    except BaseException as e:\n"
                  "        return {'error': type(e).__name__, 'text': str(e)[:100]}\n"
                  "def define():\n"
                  "    exec(compile(job['program'], 'program', 'exec'), module.__dict__)\n"
                  "    if not callable(module.__dict__.get(job['entry_point'])):\n"
                  "        raise NameError(job['entry_point'] + ' is not defined')\n"
                  "def act(request):\n"
                  "    verb, what, *rest = map(decode, request)\n"
                  "    if verb == 'call':\n"
                  "        return what(*rest[0], **rest[1])\n"
                  "    if verb == 'set':\n"
                  "        return setattr(what, *rest)\n"
                  "    return getattr(what, *rest)\n"
                  "put(attempt(define))\n"
                  "for line in iter(lambda: receive.readline(LONGEST), b''):\n"
                  "    request = json.loads(line)\n"
                  "    put(attempt(lambda: act(request)))\n";

/* An exception crosses by name, so that a test may expect it; those that end a loop silently do
 * not.  An object of the program is a Remote here: it can be called and passed back, its attributes
 * read and set, but comparing it with data is an error, and no operator reaches the program;
 * like any object, it is true.  A
 * name that the test does not define means a builtin, a module of the standard library, or else the
 * program's.  EvalPlus' tests want two functions of numpy, which is not in the sandbox.  The
 * verdict is written after the test has ended, and nowhere else. */
const char pq_sandbox_test[] = CONFINE PLAIN
    "import importlib, types\n"
    "verdict = os.fdopen(5, 'w')\n"
    "verdict.write('ready\\n')\n"
    "verdict.flush()\n"
    "class ProgramEnded(BaseException):\n"
    "    pass\n"
    "class ProgramError(Exception):\n"
    "    pass\n"
    "class Remote:\n"
    "    def __init__(self, where):\n"
    "        object.__setattr__(self, 'where', where)\n"
    "    def __call__(self, *args, **kwargs):\n"
    "        return ask('call', self, list(args), kwargs)\n"
    "    def __getattr__(self, name):\n"
    "        if name.startswith('__'):\n"
    "            raise AttributeError(name)\n"
    "        return ask('get', self, name)\n"
    "    def __setattr__(self, name, value):\n"
    "        ask('set', self, name, value)\n"
    "    def __eq__(self, other):\n"
    "        if type(other) is not Remote:\n"
    "            raise TypeError('the program gave a value that is not plain data')\n"
    "        return self is other\n"
    "    __hash__ = object.__hash__\n"
    "def refer(v):\n"
    "    if type(v) is not Remote:\n"
    "        raise TypeError('a value of type ' + type(v).__name__ + ' is not plain data')\n"
    "    return object.__getattribute__(v, 'where')\n"
    "find = Remote\n"
    "class Names(dict):\n"
    "    def __missing__(self, name):\n"
    "        if hasattr(builtins, name):\n"
    "            return getattr(builtins, name)\n"
    "        if name in sys.stdlib_module_names:\n"
    "            return importlib.import_module(name)\n"
    "        return Remote(name)\n"
    "def close(a, b, rtol, atol):\n"
    "    if isinstance(a, (list, tuple)) or isinstance(b, (list, tuple)):\n"
    "        return len(a) == len(b) and all(close(x, y, rtol, atol) for x, y in zip(a, b))\n"
    "    return a == b or abs(a - b) <= atol + rtol * abs(b)\n"
    "def assert_allclose(actual, desired, rtol=1e-7, atol=0):\n"
    "    assert close(actual, desired, rtol, atol), 'not close'\n"
    "numpy = sys.modules['numpy'] = types.ModuleType('numpy')\n"
    "numpy.ndarray = type('ndarray', (), {})\n"
    "numpy.allclose = lambda a, b, rtol=1e-5, atol=1e-8: close(a, b, rtol, atol)\n"
    "numpy.testing = types.SimpleNamespace(assert_allclose=assert_allclose)\n"
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
    "def ask(*request):\n"
    "    put([encode(v) for v in request])\n"
    "    return answer()\n"
    "def judge():\n"
    "    try:\n"
    "        take()\n"
    "    except ProgramEnded:\n"
    "        return 'broken'\n"
    "    try:\n"
    "        answer()\n"
    "        space = Names(__name__='test')\n"
    "        exec(compile(job['reference'], 'reference', 'exec'), space)\n"
    "        space[job['entry_point']] = Remote(job['entry_point'])\n"
    "        exec(compile(job['test'], 'test', 'exec'), space)\n"
    "    except (ProgramEnded, BrokenPipeError):\n"
    "        return 'failed the program ended, or a limit ended it, before it answered'\n"
    "    except BaseException as e:\n"
    "        text = ascii(str(e))[1:-1][:110]\n"
    "        return 'failed ' + type(e).__name__ + (text and ': ' + text)\n"
    "    return 'passed'\n"
    "verdict.write(judge() + '\\n')\n"
    "verdict.flush()\n";
