"""Text with named spans, `The capital of {country:France} is`, and the tokens of each span."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

MARK = re.compile(r"\{\{|\}\}|\{([^\s{}:]+):((?:[^{}]|\{\{|\}\})+)\}|[{}]")
"""A doubled brace, a span with its role and text, or a brace that is neither."""


@dataclass(frozen=True)
class Piece:
    """A part of a text and its role. A marked piece was named by the user, the others lie between such."""

    role: str
    text: str
    marked: bool = False


def parse(text: str) -> tuple[Piece, ...]:
    """The pieces of a text in which `{role:text}` marks spans; `{{` and `}}` are braces.

    What lies between is called `before R` in front of the first span R, `after R` behind a span, `whole prompt` if there
    is no span.

    Raises:
        CutawayError: a brace that is neither a span's nor doubled, or a role twice.
    """
    pieces: list[Piece] = []
    between, at = "", 0
    for mark in MARK.finditer(text):
        between += text[at : mark.start()]
        at = mark.end()
        if mark[1]:
            if between:
                pieces.append(Piece(f"after {pieces[-1].role}" if pieces else f"before {mark[1]}", between))
            pieces.append(Piece(mark[1], mark[2].replace("{{", "{").replace("}}", "}"), marked=True))
            between = ""
        elif len(mark[0]) == 2:
            between += mark[0][0]
        else:
            raise CutawayError(f"a brace stands alone in {text!r}: mark spans as {{role:text}}, write {{{{ for a brace")
    if between := between + text[at:]:
        pieces.append(Piece(f"after {pieces[-1].role}" if pieces else "whole prompt", between))
    roles = [piece.role for piece in pieces]
    if twice := [role for role in roles if roles.count(role) > 1]:
        raise CutawayError(f"the role {twice[0]!r} is marked twice in {text!r}: give each span a name of its own")
    return tuple(pieces)


def plain(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def cut(pieces: Sequence[Piece], tokenizer: Tokenizer) -> list[tuple[int, ...]]:
    """The tokens of each piece, all pieces tokenised as one text.

    A token belongs to the piece in which its first character stands that is no white space, whatever the tokenizer
    says of leading spaces.

    Raises:
        CutawayError: a token that is part of two pieces, or a marked piece without a token.
    """
    text, ends = plain(pieces), list(accumulate(len(piece.text) for piece in pieces))
    encoded = tokenizer.encode_spans(text)
    found: list[list[int]] = [[] for _ in pieces]
    for token, (start, end) in zip(encoded.ids, encoded.spans, strict=True):
        body = text[start:end]
        blank = len(body) - len(body.lstrip()) if body.strip() else 0
        at = min(bisect_right(ends, start + blank), len(pieces) - 1)
        if start + len(body.rstrip()) > ends[at]:
            raise CutawayError(
                f"the token {body!r} reaches from {pieces[at].text!r} ({pieces[at].role}) into {pieces[at + 1].text!r} "
                f"({pieces[at + 1].role}): move the edge between them to where a token ends"
            )
        found[at].append(token)
    for piece, ids in zip(pieces, found, strict=True):
        if piece.marked and not ids:
            raise CutawayError(
                f"the span {piece.role!r} ({piece.text!r}) has no token of its own: mark more of the text"
            )
    return [tuple(ids) for ids in found]
