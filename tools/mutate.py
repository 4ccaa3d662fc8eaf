"""Solutions of programming tasks, and seeded mutants of them, as replies that `panq eval --replies` judges.

    python3 tools/mutate.py TASKS right|wrong [--seed N] > REPLIES

TASKS is a file of HumanEval or MBPP as published, or one in HumanEval's fields.  `right` writes the file's own
solutions, each of which has to pass.  `wrong` writes one mutant of each: the function of the solution gives a result
that is almost right, and every mutant has to fail.  The mutant is chosen by the seed and the task from those below, and
the result is changed by its kind, so that no test which compares results can miss it.
"""
import argparse
import ast
import gzip
import hashlib
import json
import sys

# What becomes of a result; `near` decides by its kind.  A generator or another object becomes None.
NEAR = '''

def _near_{n}(v):
    if v is None:
        return 0
    if isinstance(v, bool):
        return not v
    if isinstance(v, (int, complex)):
        return v + {step}
    if isinstance(v, float):
        return v + {step} * (1 + abs(v) / 64) if v - v == 0 else 0.5
    if isinstance(v, str):
        return v + "x" if {first} or not v else v[:-1] + chr(ord(v[-1]) ^ 1)
    if isinstance(v, bytes):
        return v + b"x"
    if isinstance(v, (set, frozenset)):
        return v ^ type(v)(["mutant"])
    if isinstance(v, dict):
        return {{**v, "mutant": 1}}
    if isinstance(v, (list, tuple)):
        return v + type(v)([None]) if {first} or not v else type(v)([_near_{n}(v[0]), *v[1:]])
    return None

{name} = (lambda f: lambda *a, **k: _near_{n}(f(*a, **k)))({name})
'''


def read_tasks(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
        text = f.read()
    return json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line.strip()]


def solution(task):
    """Its id, its program, and the name of the function."""
    if "canonical_solution" in task:
        return task["task_id"], task["prompt"] + task["canonical_solution"], task["entry_point"]
    names = [node.name for node in ast.parse(task["code"]).body if isinstance(node, ast.FunctionDef)]
    called = {node.func.id for test in task["test_list"] for node in ast.walk(ast.parse(test))
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return f"Mbpp/{task['task_id']}", task["code"], next(name for name in names if name in called)


def mutant(task_id, program, name, seed):
    number = hashlib.sha256(f"{seed} {task_id}".encode()).digest()[0]
    return program.rstrip() + NEAR.format(n=number, name=name, step=(1, -1, 2, 3)[number % 4], first=bool(number & 4))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks")
    parser.add_argument("kind", choices=["right", "wrong"])
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for task in read_tasks(args.tasks):
        task_id, program, name = solution(task)
        if args.kind == "wrong":
            program = mutant(task_id, program, name, args.seed)
        json.dump({"task_id": task_id, "mode": args.kind, "content": f"```python\n{program}\n```\n"}, sys.stdout)
        print()


main()
