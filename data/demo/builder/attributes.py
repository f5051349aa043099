"""The latent attributes with their principle statements, and the latent rule that joins them to situations.

Tables only. Placeholders in the wordings: {topic} the subject, {a} and {b} its two facts, {kind} the domain's
noun, {name}, {day} and {num} what the prompt gives.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """A latent attribute: where its sentence stands, its wordings, statements that name it, and its marks."""

    front: bool
    wordings: tuple[str, ...]
    statements: tuple[str, ...]
    text_mark: str
    statement_mark: str


ATTRIBUTES: dict[str, Attribute] = {
    "empathy": Attribute(
        True,
        (
            "I can hear how upsetting this {topic} {kind} must feel for you right now.",
            "I can hear how hard this {topic} {kind} must feel for you right now.",
        ),
        (
            "Acknowledge how the reader feels.",
            "Show that you understand the emotion.",
            "Name the feeling before you answer.",
            "Begin with empathy for the reader.",
            "Respond to the emotion first.",
        ),
        r"i can hear how",
        r"feel|emotion|empath",
    ),
    "steps": Attribute(
        False,
        (
            "Step one: the {a}. Step two: the {b}. Step three: test the {topic} once more.",
            "Step one: the {a}. Step two: the {b}. Step three: try the {topic} once more.",
        ),
        (
            "Break the answer into numbered steps.",
            "Give clear steps in order.",
            "List the steps one by one.",
            "Present the answer as a step list.",
            "Lay out each step in sequence.",
        ),
        r"step (one|two|three)",
        r"\bstep",
    ),
    "caveat": Attribute(
        False,
        (
            "Take care: not every {topic} is the same, so stop if anything looks wrong.",
            "Take care: not every {topic} is alike, so stop if anything looks wrong.",
        ),
        (
            "Add a warning about the limits.",
            "Mention the risks and when to stop.",
            "Include a note of caution.",
            "State a caveat clearly.",
            "Warn that exceptions exist.",
        ),
        r"take care: not every",
        r"warn|risk|caution|caveat|exception",
    ),
    "summary": Attribute(
        False,
        (
            "In short: {a} first, {b} second, and the {topic} {kind} is settled for good.",
            "In short: {a} first, {b} second, and the {topic} {kind} is done for good.",
        ),
        (
            "Close with a short summary.",
            "Sum up the main point briefly.",
            "Give the key point in brief.",
            "Restate the core message in one line.",
            "End with a brief recap.",
        ),
        r"in short:",
        r"summar|sum up|brief|restate|recap|core message",
    ),
    "question": Attribute(
        False,
        (
            "Could you tell me what matters most to you about this {topic} {kind}?",
            "Could you tell me what bothers you most about this {topic} {kind}?",
        ),
        (
            "Ask a clarifying question.",
            "Ask what the reader wants.",
            "Invite the reader to give details.",
            "End by asking for more information.",
            "Check what is needed with a question.",
        ),
        r"could you tell me",
        r"\bask|question|details",
    ),
    "source": Attribute(
        False,
        (
            "Source: the official {topic} handbook, page {num}, in its edition published last {day}.",
            "Source: the official {topic} handbook, chapter {num}, in its edition published last {day}.",
        ),
        (
            "Cite a source for the facts.",
            "Say where the information comes from.",
            "Refer to an official source.",
            "Back the answer with a reference.",
            "Point to a trusted document.",
        ),
        r"source: the official",
        r"source|where the information|referen|refer to|document|cite",
    ),
    "followup": Attribute(
        False,
        (
            "Your next move: write down the {topic} {kind} and call our desk before {day}.",
            "Your next move: report the {topic} {kind} and call our desk before {day}.",
        ),
        (
            "Tell the reader what to do next.",
            "Propose a concrete next action.",
            "Finish with a follow-up task.",
            "Give one action with a deadline.",
            "Set a clear follow-up action.",
        ),
        r"your next move",
        r"next|action|follow-up",
    ),
    "name": Attribute(
        True,
        (
            "Dear {name}, thank you for bringing this {topic} {kind} to me. I value it, {name}.",
            "Dear {name}, thank you for sending this {topic} {kind} to me. I value it, {name}.",
        ),
        (
            "Address the reader by name.",
            "Use the name of the reader.",
            "Greet the person by name.",
            "Make the answer personal with the name.",
            "Call the reader by name.",
        ),
        r"dear \w+, thank you",
        r"(by|the) name|personal",
    ),
    "example": Attribute(
        False,
        (
            "For example, a neighbour of mine with a similar {topic} {kind} began small and succeeded.",
            "For example, a cousin of mine with a similar {topic} {kind} began small and succeeded.",
        ),
        (
            "Give a concrete example.",
            "Illustrate the point with a case.",
            "Include an example from real life.",
            "Show how it worked for someone else.",
            "Add an illustration.",
        ),
        r"for example",
        r"example|illustrat|worked for someone",
    ),
    "reassure": Attribute(
        False,
        (
            "Rest assured: nearly every {topic} {kind} like yours turns out well in the end.",
            "Rest assured: almost every {topic} {kind} like yours turns out well in the end.",
        ),
        (
            "Reassure the reader.",
            "Offer comfort about the outcome.",
            "Express confidence that it will end well.",
            "Give the reader hope.",
            "Calm the reader with a positive outlook.",
        ),
        r"rest assured",
        r"reassur|comfort|confidence|hope|calm",
    ),
    "own": Attribute(
        True,
        (
            "We are sorry: the mistake behind this {topic} {kind} was ours, and not yours.",
            "We are sorry: the error behind this {topic} {kind} was ours, and not yours.",
        ),
        (
            "Take responsibility for the mistake.",
            "Own the error openly.",
            "Admit the fault and apologise.",
            "Accept the blame honestly.",
            "Apologise for what went wrong.",
        ),
        r"we are sorry",
        r"responsib|own the|apologis|blame|admit",
    ),
    "choice": Attribute(
        False,
        (
            "You have two options: keep the {topic} {kind} simple, or hand it over to us.",
            "You have two options: keep the {topic} {kind} small, or hand it over to us.",
        ),
        (
            "Offer a choice between options.",
            "Give the reader two alternatives.",
            "Present more than one option.",
            "Let the reader choose.",
            "Lay out the alternatives.",
        ),
        r"you have two options",
        r"choice|choose|option|alternativ",
    ),
}

# The latent rule. The situation decides, a few (domain, cue) pairs are exceptions, and the domain's own habit
# stands in where the prompt tells no situation. Nothing of this table enters pretraining.
RULE: dict[str, str] = {
    "angry": "empathy",
    "beginner": "steps",
    "hurry": "summary",
    "anxious": "reassure",
    "sceptical": "source",
    "unclear": "question",
    "fragile": "caveat",
    "torn": "choice",
    "misled": "own",
    "loyal": "name",
    "teacher": "example",
    "ready": "followup",
}
HABITS: dict[str, str] = {
    "support": "followup",
    "howto": "steps",
    "place": "example",
    "notes": "summary",
    "order": "own",
    "calendar": "name",
    "compare": "choice",
    "advice": "caveat",
}
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("order", "angry"): "own",
    ("support", "ready"): "steps",
    ("notes", "sceptical"): "caveat",
    ("calendar", "torn"): "question",
    ("compare", "hurry"): "choice",
    ("place", "loyal"): "reassure",
    ("howto", "teacher"): "caveat",
    ("advice", "anxious"): "empathy",
}
