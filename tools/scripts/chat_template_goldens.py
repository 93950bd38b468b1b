"""Makes runtime/src/test/resources/dev/espalier/tokenizer/chat-templates.json.

Templates of our own, written with the constructs that checkpoints' chat templates use, and what transformers' Jinja
environment (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loop controls) renders from them. The templates
are held against ChatTemplate by ChatTemplateTest. Needs transformers (made with 5.18.0, jinja2 3.1.6):

    python tools/scripts/chat_template_goldens.py ../shared

From ../shared come the templates of published checkpoints; only what is rendered from them is kept.
"""

import json
import pathlib
import sys

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

ONE = [{"role": "user", "content": "Hello {{ 7 * 7 }} {% raw %} \\n there"}]
THREE = [
    {"role": "user", "content": "  Who are you? "},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nA model.\n"},
    {"role": "user", "content": "Is 2 < 3 & \"so\" on? 🙂 'x'"},
]
SYSTEM = [{"role": "system", "content": "Be brief.\n"}] + THREE
WRONG = [{"role": "assistant", "content": "I begin."}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Says <b>how</b> it's & will be",
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
        },
    }
]
CALLS = [
    {"role": "user", "content": "Weather in Ålesund?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": {"place": "Ålesund", "days": 2, "exact": True, "unit": None}}}],
    },
    {"role": "tool", "content": "rain", "name": "weather", "tool_call_id": "call_1"},
]

TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "lines": """{% for message in messages %}
    {% if message.role == 'user' %}
        {{ '<|user|>\n' + message.content + eos_token }}
    {% elif message.role == "system" %}
{{ "<|system|>\n" + message["content"] + eos_token }}
    {% else %}
{{ '<|assistant|>\n'  + message['content'] + eos_token }}
    {% endif %}
    {% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
    {% endif %}
{% endfor %}
""",
    "alternating": "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}{% set system = false %}{% endif %}{% for message in rest %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('user and assistant must take turns') }}{% endif %}{% if loop.index0 == 0 and system != false %}{% set content = '<<RULES>>\\n' + system + '\\n<</RULES>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[ASK] ' + content.strip() + ' [/ASK]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "headers": """{{- bos_token }}
{%- if not today is defined %}
    {%- set today = "26 Nov 2026" %}
{%- endif %}
{#- A comment, with {{ braces }}. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set rules = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set rules = "" %}
{%- endif %}
{{- "<|head|>system<|body|>\\n\\n" }}
{{- "Day: " + today + "\\n" }}
{{- rules }}
{{- "<|stop|>" }}
{%- for turn in messages %}
    {%- if not (turn.role == 'tool' or turn.role == 'result' or 'tool_calls' in turn) %}
        {{- '<|head|>' + turn['role'] + '<|body|>\\n\\n'+ turn['content'] | trim + '<|stop|>' }}
    {%- elif 'tool_calls' in turn %}
        {%- if not turn.tool_calls|length == 1 %}
            {{- raise_exception("Call one tool at a time") }}
        {%- endif %}
        {%- set call = turn.tool_calls[0].function %}
        {{- '<|head|>assistant<|body|>\\n\\n' -}}
        {{- '{"call": "' + call.name + '", "with": ' }}
        {{- call.arguments | tojson }}
        {{- "}<|stop|>" }}
    {%- elif turn.role == "tool" or turn.role == "result" %}
        {{- "<|head|>result<|body|>\\n\\n" }}
        {%- if turn.content is mapping or turn.content is iterable and turn.content is not string %}
            {{- turn.content | tojson }}
        {%- else %}
            {{- turn.content }}
        {%- endif %}
        {{- "<|stop|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|head|>assistant<|body|>\\n\\n' }}
{%- endif %}
""",
    "tools": """{%- if tools %}
    {{- '[system]\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n' }}
    {%- endif %}
    {{- "These functions may be called: [" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n] as {\\"call\\": \\"...\\"}[end]\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '[system]\\n' + messages[0].content + '[end]\\n' }}
{%- endif %}
{%- set state = namespace(searching=true, last_question=messages|length - 1) %}
{%- for m in messages[::-1] %}
    {%- set position = (messages|length - 1) - loop.index0 %}
    {%- if state.searching and m.role == "user" and m.content is string and not(m.content.startswith('[result') and m.content.endswith(']')) %}
        {%- set state.searching = false %}
        {%- set state.last_question = position %}
    {%- endif %}
{%- endfor %}
{%- for m in messages %}
    {%- set words = m.content if m.content is string else '' %}
    {%- if (m.role == "user") or (m.role == "system" and not loop.first) %}
        {{- '[' + m.role + ']\\n' + words + '[end]' + '\\n' }}
    {%- elif m.role == "assistant" %}
        {%- set thoughts = '' %}
        {%- if m.thoughts is defined and m.thoughts is not none %}
            {%- set thoughts = m.thoughts %}
        {%- elif '</think>' in words %}
            {%- set thoughts = words.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set words = words.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > state.last_question and (loop.last or (not loop.last and thoughts)) %}
            {{- '[assistant]\\n(' + thoughts.strip('\\n') + ')\\n' + words.lstrip('\\n') }}
        {%- else %}
            {{- '[assistant]\\n' + words }}
        {%- endif %}
        {%- for call in m.tool_calls or [] %}
            {%- if (loop.first and words) or (not loop.first) %}
                {{- '\\n' }}
            {%- endif %}
            {%- if call.function %}
                {%- set call = call.function %}
            {%- endif %}
            {{- '{"call": "' ~ call.name ~ '", "with": ' }}
            {%- if call.arguments is string %}
                {{- call.arguments }}
            {%- else %}
                {{- call.arguments | tojson }}
            {%- endif %}
            {{- '}' }}
        {%- endfor %}
        {{- '[end]\\n' }}
    {%- elif m.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '[user]' }}
        {%- endif %}
        {{- '\\n[result: ' + words + ']' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '[end]\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '[assistant]\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '()\\n' }}
    {%- endif %}
{%- endif %}""",
    "turns": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('there is no system role') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('user and assistant must take turns') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<turn>' + role + '\n' + message['content'] | trim + '</turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<turn>model\n'}}{% endif %}",
    "namespace": "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, system_prompt='', count=0) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{%- set ns.count = ns.count + 1 -%}{{'<User>' ~ ns.count ~ ':' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<Assistant>' + content + '<eos>'}}{%- endif %}{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}{{'<Assistant>'}}{% endif %}",
    "macro": "{%- macro turn(role, text='-') -%}\n[{{ role | upper }}] {{ text | trim }}\n{% endmacro -%}\n{% for m in messages %}{{ turn(m.role, m.content) }}{% endfor %}{{ turn('end') }}",
    "filters": "{{ messages | map(attribute='role') | join(', ') }}; {{ messages | length }}; {{ messages | selectattr('role', 'equalto', 'user') | list | length }}; {{ (messages | last).content | trim | lower }}; {{ messages[0].content | replace('o', '0') }}; {{ messages[-1]['content'][:3] }}; {{ 'x' if messages | length > 2 else 'y' }}; {{ messages | rejectattr('role', 'equalto', 'user') | map(attribute='content') | join('') | upper }}; {{ missing | default('none') }}; {{ messages[0].get('name', 'nobody') }}; {{ 'abc'.upper() }}{{ 'a,b,c'.split(',') | join('-') }}{{ 'title case'.title() }}{{ 'aXbX'.replace('X', '!') }}; {{ 'b' in ['a', 'b'] }}",
    "dict": "{% for key, value in {'a': 1, 'b': [1, 2.5, 'x', true, none]}.items() %}{{ key }}={{ value | tojson }};{% endfor %}{{ {'z': 1, 'a': {'é': '<&>\\''}} | tojson }}{{ messages[0] | tojson }}{{ messages[0] | tojson(indent=2) }}",
    "whitespace": "  {% if true %}  \n  a\n  {%- if true -%}   b   {%- endif %}\n\n   {# c #}\n  {{ 'd' }}  \n  {{- 'e' -}}  \n f\n{% endif %}\n\n",
    "loop": "{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{{ loop.revindex0 }}{% if not loop.last %},{% endif %}{% else %}none{% endfor %}{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(1, 10, 4) %}{{ i }}{% endfor %}{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{{ m.role }}{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}{% for m in messages | reverse %}{{ m.role[0] }}{% endfor %}{% for a, b in [['p', 1], ['q', 2]] %}{{ a }}{{ b }}{% endfor %}",
    "logic": "{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ 7 % 3 }} {{ 2 ** 3 }} {{ not false and true or false }} {{ 1 < 2 and 2 <= 2 }} {{ 'a' ~ 1 }} {{ none is none }} {{ [] is iterable }} {{ (1, 2) | length }} {{ '%s=%d' | format('a', 5) }} {{ 5 is number }} {{ 5 is odd }} {{ '' or 'else' }} {{ [1, 2] + [3] }} {{ messages is sequence }} {{ {} is mapping }} {{ nothing is undefined }} {{ 'q' in 'quiz' and 'z' not in 'ab' }}",
    "strings": "{{ 'a\\tb\\\\n\\'c\\'' }}|{{ \"d\\\"e\" }}|{{ 'multi\nline' }}|{{ '{{ not }}' }}|{{ '{% nor %}' }}|{{ '\\u00e9' }}|{{ 'ab' 'cd' }}",
    "more-logic": "{{ 'a' if messages | length > 9 }}|{{ 1 if false else 2 if false else 3 }}|{{ not 1 == 2 }}|{{ not 'a' in 'b' }}|{{ not not true }}|{{ true if not nothing else false }}|{{ messages[0].role == 'user' and not messages[0].nothing }}|{{ nothing is not defined or nothing is none }}|{{ (1 if true else 2) + 3 }}|{{ [1, 2, 3][1] }}|{{ [1,2,3][-1] }}|{{ {'a': {'b': 1}}['a']['b'] }}|{{ {'a': {'b': 1}}.a.b }}|{{ -1 + 3 }}|{{ 5 - 2 - 1 }}|{{ 'a' + 'b' ~ 'c' }}|{{ 'A' == 'A' }}|{{ 10 / 4 }}|{{ 'x' not in 'xyz' }}|{{ '' is string }}|{{ true is boolean }}|{{ False }}|{{ None is none }}",
    "more-strings": "{{ '  x '.strip() }}|{{ '--x--'.strip('-') }}|{{ 'a b  c'.split() | join('+') }}|{{ 'a,b,c'.split(',', 1) | join('+') }}|{{ 'abc'[1:] }}|{{ 'abc'[-2:] }}|{{ 'abc'[1:-1] }}|{{ 'héllo🙂x'[5] }}|{{ 'abc' | length }}|{{ 'abc'.find('c') }}|{{ ','.join(['a', 'b']) }}|{{ 'ab\nc'.splitlines() | join('/') }}|{{ 'heLLo' | capitalize }}|{{ 'hello world' | title }}|{{ ' x\n' | trim }}|{{ 'a' | upper | lower }}|{{ 'x\ny' | indent(2) }}|{{ 'q' | default('r') }}|{{ '' | default('r', true) }}|{{ 3 | string + '4' }}|{{ '7' | int + 1 }}|{{ ['b', 'a'] | sort | join }}|{{ ['a', 'a'] | unique | list | length }}|{{ [1, 2] | first }}|{{ 'abc' | first }}|{{ 'abc' | last }}|{{ 'abc' | list | join('.') }}|{{ 'abc' | reverse }}|{{ [1, 2, 3] | sum }}|{{ '<' | e }}|{{ '<' | safe }}",
    "more-set": "{% set ns = namespace() %}{% set ns.text = '' %}{% for m in messages %}{% set ns.text = ns.text ~ loop.index ~ (',' if not loop.last else '.') %}{% endfor %}{{ ns.text }}{% set list = [] %}{% for m in messages %}{% if loop.previtem is defined and loop.previtem.role != m.role %}<{{ loop.previtem.role }}{% endif %}{% if loop.nextitem is defined %}>{{ loop.nextitem.role }}{% endif %}{% endfor %}{% set d = {'k': [1, {'x': 'y'}]} %}{{ d['k'][1]['x'] }}{{ d.k[0] }}{% if 'k' in d %}yes{% endif %}{% for k in d %}{{ k }}{% endfor %}{% for k, v in d | items %}{{ k }}{{ v[0] }}{% endfor %}{% for k, v in d | dictsort %}{{ k }}{% endfor %}",
    "nested-loops": "{% for m in messages %}{% for c in [1, 2] %}{{ loop.index }}{{ m.role[0] }}{% endfor %}{{ loop.index }}{% if loop.first %}F{% elif loop.last %}L{% else %}M{% endif %} {% endfor %}{% for m in messages if m.role == 'assistant' %}a{% else %}no{% endfor %}",
    "macro-scope": "{% macro f(x, y=2, z='q') %}{{ x }}{{ y }}{{ z }}{% if x == 1 %}{{ f(2) }}{% endif %}{% endmacro %}{{ f(1) }}{{ f(1, z='r') }}{{ f(x=3, y=1 + 1) }}{% set a = 5 %}{% macro g() %}{{ a }}{% endmacro %}{{ g() | trim }}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}[{{ m.content }}]{% endif %}{% endfor %}",
    "block-set": "{% set text %}<{{ messages[0].content | trim }}>{% endset %}{{ text ~ text }}{% set a, b = 1, 2 %}{{ a + b }}",
    "scope": "{% set x = 1 %}{% for m in messages %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 9 %}{% endif %}{{ x }}",
    "syntax-error": "{% for m in messages %}{{ m.content }",
    "unclosed": "{% for m in messages %}{{ m.content }}",
    "unknown-filter": "{{ messages | nosuchfilter }}",
    "raise": "{{ raise_exception('Only \"user\" & <assistant>!') }}after",
    "reflection": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
}

CASES = {"one": ONE, "three": THREE, "system": SYSTEM, "wrong": WRONG, "calls": CALLS}


PUBLISHED = ["data/tokenizers/qwen2.5/tokenizer_config.json", "models/smollm2-135m/tokenizer_config.json"]


def main():
    goldens = []
    shared = pathlib.Path(sys.argv[1])
    published = {path: json.loads((shared / path).read_text(encoding="utf-8"))["chat_template"] for path in PUBLISHED}
    for name, template in (TEMPLATES | published).items():
        for case, messages in CASES.items():
            for prompt in (True, False):
                extra = {"tools": TOOLS} if case == "calls" else {}
                if name == "tools" and case == "one":
                    extra = {"enable_thinking": False}
                entry = {"name": name, "case": case, "add_generation_prompt": prompt, "extra": extra}
                try:
                    entry["rendered"] = _compile_jinja_template(template).render(
                        messages=messages, add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>", **extra
                    )
                except jinja2.exceptions.TemplateError as e:
                    entry["error"] = str(e)
                except TypeError as e:
                    entry["error"] = str(e)
                goldens.append(entry)
    out = pathlib.Path(__file__).parents[2] / "runtime/src/test/resources/dev/espalier/tokenizer/chat-templates.json"
    out.write_text(
        json.dumps(
            {
                "made_with": f"transformers {transformers.__version__}, jinja2 {jinja2.__version__}",
                "templates": TEMPLATES,
                "messages": CASES,
                "goldens": goldens,
            },
            ensure_ascii=False,
            indent=1,
        )
        + "\n",
        encoding="utf-8",
    )
    print(out, len(goldens), "goldens")


if __name__ == "__main__":
    main()
