"""How openPangu-Embedded is spoken to: its marks, its turns and its three modes.

The thinking mode is a suffix of the user's turn.  A reply is THINK, the thinking (empty when there
is none), ANSWER, the content, END.
"""
TURN, END, THINK, ANSWER = "[unused9]", "[unused10]", "[unused16]", "[unused17]"
INSTRUCTION = "Complete this Python function."
SUFFIX = {"slow": "", "auto": " /auto_think", "no": " /no_think"}

TEMPLATE = (
    "{% set names = {'system': '系统', 'user': '用户', 'assistant': '助手', 'tool': '工具', "
    "'function': '方法'} %}"
    "{% if messages[0]['role'] != 'system' %}{{ '[unused9]系统：[unused10]' }}{% endif %}"
    "{% for m in messages %}"
    "{{ '[unused9]' + names[m['role']] + '：' + m['content'] + '[unused10]' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '[unused9]助手：' }}{% endif %}")


def request(code):
    """What the user asks for: `code` is the first line and the docstring of a function."""
    return INSTRUCTION + "\n" + code.rstrip("\n")


def prompt(user, mode):
    """The text before the reply.  The tokenizer's <s> is not part of it."""
    return f"{TURN}系统：{END}{TURN}用户：{user}{SUFFIX[mode]}{END}{TURN}助手："


def reply(thinking, content):
    return f"{THINK}{thinking}{ANSWER}{content}{END}"
