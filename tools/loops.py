# SPDX-License-Identifier: Apache-2.0
"""Innermost loops of a disassembled function, from its flow graph.

Not from address ranges: a loop with two jumps back to its head, with a part placed behind the
function, or with its condition in the middle is still one loop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from objects import Instruction


@dataclass(frozen=True)
class Syntax:
    """How an architecture's jumps read: `jump` has a group `target` (calls do not match); `stops`
    are instructions that the next one does not follow."""

    jump: re.Pattern[str]
    stops: re.Pattern[str]


X86 = Syntax(
    re.compile(r"^(?:bnd\s+|notrack\s+)*j[a-z]+\s+(?:0x)?(?P<target>[0-9a-f]+)\b"),
    re.compile(r"^(?:bnd\s+|notrack\s+|repz?\s+)*(?:jmp|ret|ud2|hlt)"),
)
AARCH64 = Syntax(
    re.compile(
        r"^(?:b\s|bc?\.[a-z]{2,4}\s|cbn?z\s+[wx]\w+,|tbn?z\s+[wx]\w+,\s*#\w+,)"
        r"\s*(?:0x)?(?P<target>[0-9a-f]+)(?:\s|$)"
    ),
    re.compile(
        r"^(?:(?:b|br|braa?z?|brabz?|ret|retaa|retab|udf|brk)(?:\s|$)|bl\s.*__stack_chk_fail)"
    ),
)

Graph = dict[int, list[int]]


def blocks_of(body: list[Instruction], syntax: Syntax) -> tuple[list[list[Instruction]], Graph]:
    """Basic blocks in order of address, and the numbers of the blocks that may follow each."""
    first, last = body[0].address, body[-1].address
    starts = {first}
    for at, instruction in enumerate(body):
        jump = syntax.jump.match(instruction.text)
        if jump and first <= int(jump["target"], 16) <= last:
            starts.add(int(jump["target"], 16))
        if (jump or syntax.stops.match(instruction.text)) and at + 1 < len(body):
            starts.add(body[at + 1].address)
    blocks: list[list[Instruction]] = []
    for instruction in body:
        if instruction.address in starts:
            blocks.append([])
        blocks[-1].append(instruction)
    number = {block[0].address: i for i, block in enumerate(blocks)}
    follows: Graph = {}
    for i, block in enumerate(blocks):
        end = block[-1].text
        jump = syntax.jump.match(end)
        follows[i] = []
        if jump and int(jump["target"], 16) in number:
            follows[i].append(number[int(jump["target"], 16)])
        if not syntax.stops.match(end) and i + 1 < len(blocks):
            follows[i].append(i + 1)
    reached = {n for after in follows.values() for n in after}
    for i, block in enumerate(blocks):
        if i not in reached and all(instruction.mnemonic == "nop" for instruction in block):
            follows[i] = []  # padding does not run into what it aligns
    return blocks, follows


def cycles(nodes: set[int], follows: Graph) -> list[set[int]]:
    """Strongly connected parts of the graph among `nodes` that hold a cycle (Tarjan, without
    recursion: a function may have thousands of blocks)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    found = []
    for root in sorted(nodes):
        if root in index:
            continue
        work = [(root, iter(follows[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        while work:
            node, rest = work[-1]
            step = next((n for n in rest if n in nodes and (n not in index or n in stack)), None)
            if step is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    part = set(stack[stack.index(node) :])
                    del stack[stack.index(node) :]
                    if len(part) > 1 or node in follows[node]:
                        found.append(part)
            elif step in index:
                low[node] = min(low[node], index[step])
            else:
                index[step] = low[step] = len(index)
                stack.append(step)
                work.append((step, iter(follows[step])))
    return found


def innermost(part: set[int], follows: Graph) -> Iterable[set[int]]:
    """The loops within a strongly connected part that contain no further loop.

    A part without its head, the block that is entered from outside, falls apart into the loops
    inside it. With several such blocks (which compilers hardly make) the first is taken. Two loops
    with one head count as one, since nothing tells them from one loop with two ways round.
    """
    entered = {n for m, after in follows.items() if m not in part for n in after} & part
    head = min(entered or part)
    inner = cycles(part - {head}, follows)
    if not inner:
        return [part]
    return [loop for nested in inner for loop in innermost(nested, follows)]


def innermost_loops(body: list[Instruction], syntax: Syntax) -> list[list[Instruction]]:
    """Instructions of each loop that contains no other loop, in order of address."""
    blocks, follows = blocks_of(body, syntax)
    loops = [
        [instruction for block in sorted(loop) for instruction in blocks[block]]
        for part in cycles(set(follows), follows)
        for loop in innermost(part, follows)
    ]
    return sorted(loops, key=lambda loop: loop[0].address)
