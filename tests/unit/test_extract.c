/* The rules of extract.h, on replies as models write them. */
#include "extract.h"
#include "tap.h"

#include <string.h>

#define PROMPT "import math\n\ndef helper(x):\n    return x\n\ndef f(x):\n    \"\"\"Add.\"\"\"\n"
#define HELPERS "import math\n\ndef helper(x):\n    return x\n\n"

static int gives(const char *reply, const char *want) {
    char *program = pq_extract_program(reply, PROMPT, "f");
    int same = program ? want && strcmp(program, want) == 0 : !want;
    if (!same)
        printf("# got: %s\n", program ? program : "(none)");
    free(program);
    return same;
}

static void test_marked_block(void) {
    CHECK(gives("Sure!\n```python\ndef f(x):\n    return 1\n```\nIt adds.",
                HELPERS "def f(x):\n    return 1\n"));
    CHECK(gives("```Python\ndef f(x):\n    return 1\n```", HELPERS "def f(x):\n    return 1\n"));
    CHECK(gives("```py\r\ndef f(x):\n    return 1\n```", HELPERS "def f(x):\n    return 1\n"));
    CHECK(gives("````python3 title=\"a\"\ndef f(x):\n    return '''```'''\n````",
                HELPERS "def f(x):\n    return '''```'''\n"));
}

static void test_plain_block(void) {
    CHECK(gives("```\ndef f(x):\n    return 1\n```\n", HELPERS "def f(x):\n    return 1\n"));
}

static void test_other_blocks_never_count(void) {
    CHECK(gives("```bash\npip install f\n```\n```python\ndef f(x):\n    return 1\n```\n"
                "```text\ndef f(x): no\n```\n",
                HELPERS "def f(x):\n    return 1\n"));
    CHECK(gives("```text\ndef g\n```\n", PROMPT "```text\ndef g\n```\n"));
}

static void test_last_definition_wins(void) {
    CHECK(gives("```python\ndef f(x):\n    return 1\n```\nBetter:\n"
                "```python\ndef f(x):\n    return 2\n```\n",
                HELPERS "def f(x):\n    return 2\n"));
}

static void test_examples_after_the_answer(void) {
    CHECK(gives("```python\ndef f(x):\n    return 1\n```\nUse:\n```python\nprint(f(2))\n```\n"
                "Output:\n```\n1\n```\n",
                HELPERS "def f(x):\n    return 1\n"));
    CHECK(gives("```\ndef f(x):\n    return 1\n```\nUse:\n```python\nprint(f(2))\n```\n",
                HELPERS "def f(x):\n    return 1\n"));
}

static void test_unfinished_block(void) {
    CHECK(gives("```python\ndef f(x):\n    return 1", HELPERS "def f(x):\n    return 1"));
    CHECK(gives("```python", NULL));
    CHECK(gives("```python\n\n```\n", NULL));
}

static void test_indented_block(void) {
    CHECK(gives("1. Write:\n   ```python\n   def f(x):\n       return 1\n\n   ```\n",
                HELPERS "def f(x):\n    return 1\n\n"));
}

static void test_completion(void) {
    CHECK(gives("    return x + 1\n", PROMPT "    return x + 1\n"));
    CHECK(gives("```python\n    return x + 1\n```", PROMPT "    return x + 1\n"));
    char *program = pq_extract_program("    return 1\n", "def f(x):", "f");
    CHECK(program && strcmp(program, "def f(x):\n    return 1\n") == 0);
    free(program);
}

static void test_ways_to_define(void) {
    CHECK(gives("def  f (x): return 1", HELPERS "def  f (x): return 1"));
    CHECK(gives("async def f(x): pass", HELPERS "async def f(x): pass"));
    CHECK(gives("f = lambda x: 1", HELPERS "f = lambda x: 1"));
    CHECK(gives("class f:\n    pass\n", HELPERS "class f:\n    pass\n"));
    CHECK(gives("class f(int):\n    pass\n", HELPERS "class f(int):\n    pass\n"));
    /* These do not define it. */
    CHECK(gives("def ff(x): return 1", PROMPT "def ff(x): return 1"));
    CHECK(gives("    def f(x): return 1", PROMPT "    def f(x): return 1"));
    CHECK(gives("f == 1", PROMPT "f == 1"));
    CHECK(gives("f(1)", PROMPT "f(1)"));
}

/* Replies as instruction-tuned models write them. */
static const char explained[] =
    "Certainly! Here's how we can solve it step by step.\n\n"
    "1. **Read the input.** The argument `x` is a number.\n"
    "2. **Add one.**\n\n"
    "Here is the implementation:\n\n"
    "```python\n"
    "from typing import List\n\n"
    "def f(x):\n"
    "    \"\"\"Add.\"\"\"\n"
    "    return x + 1\n\n"
    "# Test cases\n"
    "assert f(1) == 2\n\n"
    "if __name__ == \"__main__\":\n"
    "    print(f(1))\n"
    "```\n\n"
    "### Explanation\n"
    "- The function returns `x + 1`.\n\n"
    "Example:\n\n"
    "```python\n"
    ">>> f(1)\n"
    "2\n"
    "```\n\n"
    "```bash\n$ python f.py\n2\n```\n\n"
    "The time complexity is O(1). Let me know if you need anything else!";

static void test_explained(void) {
    CHECK(gives(explained, HELPERS "from typing import List\n\n"
                                   "def f(x):\n    \"\"\"Add.\"\"\"\n    return x + 1\n\n"
                                   "# Test cases\nassert f(1) == 2\n\n"
                                   "if __name__ == \"__main__\":\n    print(f(1))\n"));
}

static void test_corrected(void) {
    CHECK(gives("My first try:\n```python\ndef f(x):\n    return x\n```\n"
                "Wait, that is wrong: it adds nothing. Corrected:\n\n"
                "```python\ndef f(x):\n    return x + 1\n```\nTests:\n"
                "```python\nassert f(1) == 2\nassert f(2) == 3\n```",
                HELPERS "def f(x):\n    return x + 1\n"));
}

static void test_cut_in_the_second_block(void) {
    CHECK(gives("```python\ndef f(x):\n    return 1\n```\nA faster one:\n```python\nimport nu",
                HELPERS "def f(x):\n    return 1\n"));
    CHECK(gives("```python\ndef f(x):\n    return 1\n```\nA faster one:\n```python\ndef f(x):\n  ",
                HELPERS "def f(x):\n  "));
}

static void test_body_alone(void) {
    CHECK(gives("The body is:\n```python\n    # add\n    y = x + 1\n    return y\n```\n",
                PROMPT "    # add\n    y = x + 1\n    return y\n"));
}

/* MBPP has no stub: whatever the block has is the program. */
static void test_without_a_stub(void) {
    char *program =
        pq_extract_program("Sure:\n```python\nimport re\ndef f(x):\n    return 1\n```", "", "f");
    CHECK(program && strcmp(program, "import re\ndef f(x):\n    return 1\n") == 0);
    free(program);
    program = pq_extract_program("```python\ndef g(x):\n    return 1\n```", "", "f");
    CHECK(program && strcmp(program, "def g(x):\n    return 1\n") == 0);
    free(program);
}

static void test_nothing(void) {
    CHECK(gives("", NULL));
    CHECK(gives(" \r\n\t\n", NULL));
}

static void test_backticks_in_text(void) {
    CHECK(gives("Use ```f``` here:\n```f(1)``` is 2.\n```python\ndef f(x):\n    return 1\n```",
                HELPERS "def f(x):\n    return 1\n"));
}

int main(void) {
    RUN(test_marked_block);
    RUN(test_plain_block);
    RUN(test_other_blocks_never_count);
    RUN(test_last_definition_wins);
    RUN(test_examples_after_the_answer);
    RUN(test_unfinished_block);
    RUN(test_indented_block);
    RUN(test_completion);
    RUN(test_ways_to_define);
    RUN(test_explained);
    RUN(test_corrected);
    RUN(test_cut_in_the_second_block);
    RUN(test_body_alone);
    RUN(test_without_a_stub);
    RUN(test_nothing);
    RUN(test_backticks_in_text);
    return tap_done();
}
