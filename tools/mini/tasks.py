"""The tasks that pangu-mini learns: one small Python function each, described by its docstring.

A task is a pipeline of steps over a list, a text or a number, drawn from the tables below.  The
same row gives the sentence in the docstring, the line of the solution and the line of thought, so
a task's difficulty is known (its number of steps), its solution is correct by construction, and
its tests are what the solution returns.

Every draw comes from the caller's random.Random in a fixed order.  The committed task files follow
from their seeds only while that order stands: a new row, or a draw moved, makes other tasks.
"""
from dataclasses import dataclass
from typing import NamedTuple


class Step(NamedTuple):
    """What a step is called and the expression that does it.

    K stands for a number from 2 to 9, and the L of "letter L" and 'L' for a letter; fill() puts
    both in.  A step that keeps items has a condition on x for its expression.
    """

    says: str
    code: str
    keeps: bool = False


KEEP = [
    Step("even numbers", "x % 2 == 0", True),
    Step("odd numbers", "x % 2 != 0", True),
    Step("positive numbers", "x > 0", True),
    Step("negative numbers", "x < 0", True),
    Step("numbers greater than K", "x > K", True),
    Step("numbers less than K", "x < K", True),
    Step("numbers at least K", "x >= K", True),
    Step("multiples of K", "x % K == 0", True),
    Step("numbers that do not equal K", "x != K", True),
]

CHANGE = [
    Step("square each one", "x * x"),
    Step("double each one", "2 * x"),
    Step("triple each one", "3 * x"),
    Step("negate each one", "-x"),
    Step("add K to each one", "x + K"),
    Step("subtract K from each one", "x - K"),
    Step("take the absolute value of each one", "abs(x)"),
    Step("take the remainder of each one modulo K", "x % K"),
    Step("halve each one, rounding down", "x // 2"),
]

# From the list ys to the result.
COMBINE = [
    Step("return the sum", "sum(ys)"),
    Step("return how many there are", "len(ys)"),
    Step("return the largest, or 0 if there are none", "max(ys, default=0)"),
    Step("return the smallest, or 0 if there are none", "min(ys, default=0)"),
    Step("return them sorted", "sorted(ys)"),
    Step("return them sorted from largest to smallest", "sorted(ys, reverse=True)"),
    Step("return them in reverse order", "ys[::-1]"),
    Step("return the distinct ones, sorted", "sorted(set(ys))"),
    Step("return the first K of them", "ys[:K]"),
    Step("return the last K of them", "ys[-K:]"),
    Step("return the list", "ys"),
]

# From the text s to another text.
TEXT = [
    Step("reverse the text", "s[::-1]"),
    Step("make it upper case", "s.upper()"),
    Step("make it lower case", "s.lower()"),
    Step("remove the spaces", "s.replace(' ', '')"),
    Step("remove the vowels", "''.join(c for c in s if c not in 'aeiou')"),
    Step("keep only the digits", "''.join(c for c in s if c.isdigit())"),
    Step("keep only the letters", "''.join(c for c in s if c.isalpha())"),
    Step("repeat it K times", "s * K"),
    Step("keep the first K characters", "s[:K]"),
    Step("drop the first K characters", "s[K:]"),
    Step("swap upper and lower case", "s.swapcase()"),
    Step("put the words in reverse order", "' '.join(s.split()[::-1])"),
]

# From the text s to the result; the last row only makes sense after another step.
MEASURE = [
    Step("return its length", "len(s)"),
    Step("return the number of words", "len(s.split())"),
    Step("return the number of vowels", "sum(c in 'aeiou' for c in s)"),
    Step("return whether it is a palindrome", "s == s[::-1]"),
    Step("return how often the letter L occurs", "s.count('L')"),
    Step("return the longest word", "max(s.split(), key=len, default='')"),
    Step("return the list of its words", "s.split()"),
    Step("return the result", "s"),
]

# Whole functions of n: the docstring and the lines of the body.
NUMBER = [
    Step("Return the sum of the digits of n.", "return sum(int(d) for d in str(n))"),
    Step("Return the factorial of n.",
         "r = 1\nfor i in range(2, n + 1):\n    r *= i\nreturn r"),
    Step("Return whether n is prime.",
         "if n < 2:\n    return False\n"
         "for i in range(2, n):\n    if n % i == 0:\n        return False\nreturn True"),
    Step("Return the n-th Fibonacci number, where the first two are 0 and 1.",
         "a, b = 0, 1\nfor _ in range(n):\n    a, b = b, a + b\nreturn a"),
    Step("Return the number of divisors of n.",
         "return sum(n % i == 0 for i in range(1, n + 1))"),
    Step("Return the list of the divisors of n.",
         "return [i for i in range(1, n + 1) if n % i == 0]"),
    Step("Return n written in binary.", "return bin(n)[2:]"),
    Step("Return the sum of the numbers from 1 to n.", "return n * (n + 1) // 2"),
    Step("Return the sum of the squares from 1 to n.",
         "return sum(i * i for i in range(1, n + 1))"),
    Step("Return the list of the multiples of K up to n.", "return list(range(K, n + 1, K))"),
    Step("Return n raised to the power K.", "return n ** K"),
    Step("Return the number of digits of n.", "return len(str(n))"),
]

NAMES = "solve f compute process run task work answer transform func".split()
LETTERS = "abcdehilmnorst"
WORDS = ("red Green blue level Ada 42 noon River stone 7 cats moon Kayak data 2024 sun tree go "
         "Python").split()
TESTS = 8


@dataclass(frozen=True)
class Task:
    """A task as HumanEval describes one, and how slow thinking goes about it."""

    prompt: str  # the function's first line and docstring
    entry_point: str
    canonical_solution: str  # the body that continues the prompt
    test: str  # the source of check(candidate)
    thoughts: list[str]  # one for each step

    @property
    def steps(self):
        return len(self.thoughts)

    @property
    def key(self):
        """Two tasks that differ only in the function's name have the same key."""
        return self.prompt.split("\n", 1)[1] + self.canonical_solution

    @property
    def thinking(self):
        """What the model is taught to write before the code when it thinks."""
        s = "s" if self.steps > 1 else ""
        lines = [f"The task has {self.steps} step{s}."]
        lines += [f"Step {i}: {thought}." for i, thought in enumerate(self.thoughts, 1)]
        lines.append(f"So {self.entry_point} takes {self.steps} line{s}, one for each step.")
        return "\n".join(lines)

    @property
    def answer(self):
        first_line = self.prompt.split("\n", 1)[0]
        return f"```python\n{first_line}\n{self.canonical_solution}```"

    def record(self, task_id):
        """The task as a line of HumanEval's JSONL has it."""
        return {"task_id": task_id, "prompt": self.prompt, "entry_point": self.entry_point,
                "canonical_solution": self.canonical_solution, "test": self.test}


def fill(rng, step):
    """Puts a number and a letter into a step.  Both are always drawn, used or not."""
    number, letter = str(rng.randint(2, 9)), rng.choice(LETTERS)
    says = step.says.replace("K", number).replace("letter L", "letter " + letter)
    code = step.code.replace("K", number).replace("'L'", f"'{letter}'")
    return step._replace(says=says, code=code)


def draw(rng, table):
    return fill(rng, rng.choice(table))


def sentence(parts):
    """'Do this.' or 'Do this, do that, and do the third.'"""
    text = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + ", and " + parts[-1]
    return text[0].upper() + text[1:] + "."


def argument(rng, name):
    """A value for the argument xs, s or n."""
    if name == "xs":
        return [rng.randint(-12, 20) for _ in range(rng.randint(0, 9))]
    if name == "s":
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(0, 5)))
    return rng.randint(1, 30)


def finish(rng, arg, doc, lines, thoughts):
    """The task of a docstring and the lines of its body: draws a name and runs the tests."""
    name = rng.choice(NAMES)
    prompt = f'def {name}({arg}):\n    """{doc}"""\n'
    body = "".join(f"    {line}\n" for line in lines)
    scope = {}
    exec(prompt + body, scope)  # our own tables' code: nothing here comes from a model
    test = "def check(candidate):\n"
    for _ in range(TESTS):
        value = argument(rng, arg)
        test += f"    assert candidate({value!r}) == {scope[name](value)!r}\n"
    return Task(prompt, name, body, test, thoughts)


def list_task(rng, lead, steps, verbs, combine):
    """Steps over the list xs; verbs has what to say before each step's own words."""
    lines, thoughts, source = [], [], "xs"
    for step in steps:
        if step.keeps:
            lines.append(f"ys = [x for x in {source} if {step.code}]")
            thoughts.append(f"keep the {step.says}: {step.code}")
        else:
            lines.append(f"ys = [{step.code} for x in {source}]")
            thoughts.append(f"{step.says}: {step.code}")
        source = "ys"
    result = combine.code.replace("ys", source)
    lines.append("return " + result)
    thoughts.append(f"{combine.says}: {result}")
    parts = [verb + step.says for verb, step in zip(verbs, steps)] + [combine.says]
    return finish(rng, "xs", lead + sentence(parts), lines, thoughts)


def text_task(rng, lead, steps, measure):
    """Steps over the text s."""
    lines = [f"s = {step.code}" for step in steps] + ["return " + measure.code]
    thoughts = [f"{step.says}: {step.code}" for step in [*steps, measure]]
    doc = lead + sentence([step.says for step in [*steps, measure]])
    return finish(rng, "s", doc, lines, thoughts)


def draw_list_task(rng):
    steps = [draw(rng, KEEP) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
    steps += [draw(rng, CHANGE) for _ in range(rng.choice([0, 1, 1, 2]))]
    combine = draw(rng, COMBINE)
    if rng.random() < 0.3:
        rng.shuffle(steps)
    verbs = [rng.choice(["keep only the ", "take the "]) if s.keeps else "" for s in steps]
    lead = rng.choice(["From the list xs: ", "Given a list of integers xs: ",
                       "Take the integers in xs. "])
    return list_task(rng, lead, steps, verbs, combine)


def draw_text_task(rng):
    steps = [fill(rng, step) for step in rng.sample(TEXT, rng.choice([0, 1, 1, 2, 2]))]
    measure = draw(rng, MEASURE if steps else MEASURE[:-1])
    lead = rng.choice(["For the text s: ", "Given a string s: "])
    return text_task(rng, lead, steps, measure)


def draw_number_task(rng):
    step = draw(rng, NUMBER)
    thought = step.says.removesuffix(".").replace("Return", "return")
    return finish(rng, "n", step.says, step.code.split("\n"), [thought])


def draw_task(rng):
    """A task of one to five steps: lists most often, then texts, then numbers."""
    family = rng.choice([draw_list_task] * 6 + [draw_text_task] * 4 + [draw_number_task])
    return family(rng)
