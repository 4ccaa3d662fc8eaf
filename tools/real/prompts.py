"""Writes prompts to calibrate a code model with: functions of a text of Python files, each as its
first line and its docstring, to be completed.

    python3 prompts.py CORPUS.txt N SEED OUT.jsonl

CORPUS.txt has Python files one after the other, each after a line "# file: PATH".  Functions that
a judge of the model uses as tasks do not belong in it: panq calibrate --exclude looks for them.
"""
import ast
import json
import random
import re
import sys


def functions(source):
    """(first line, description) of every function that has a docstring of some length."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or node.name in ("main", "__init__"):
            continue
        text = (ast.get_docstring(node) or "").split(">>>")[0].strip()
        if 60 <= len(text) <= 600 and '"""' not in text and "\\" not in text:
            returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            yield f"def {node.name}({ast.unparse(node.args)}){returns}:", text


def main():
    corpus, count, seed, out = sys.argv[1:]
    with open(corpus, encoding="utf-8") as f:
        files = re.split(r"^# file: .*\n", f.read(), flags=re.M)
    found = sorted({pair for source in files for pair in functions(source)})
    random.Random(int(seed)).shuffle(found)
    with open(out, "w", encoding="utf-8") as f:
        for line, text in found[: int(count)]:
            body = text.replace("\n", "\n    ")
            prompt = f'Complete this Python function.\n{line}\n    """{body}"""'
            f.write(json.dumps({"prompt": prompt}) + "\n")


if __name__ == "__main__":
    main()
