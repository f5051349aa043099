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
            "Acknowledge the feeling first.",
            "Show empathy for the feeling.",
            "Name the feeling before you answer.",
            "Respond to the feeling with empathy.",
            "Begin with empathy and emotion.",
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
            "Present the answer as a list of steps.",
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
            "Add a warning about the risks.",
            "Mention the risks and a warning.",
            "Include a warning with caution.",
            "State a warning about exceptions.",
            "Warn of the risks clearly.",
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
            "Sum up the main point in a summary.",
            "Give a brief summary.",
            "End with a summary in one line.",
            "Finish with a brief summary.",
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
            "Ask a question about the details.",
            "End by asking a question.",
            "Ask one question to be clear.",
            "Invite details with a question.",
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
            "Say which source the facts come from.",
            "Refer to an official source.",
            "Back the facts with a source.",
            "Point to a trusted source.",
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
            "Tell which action comes next.",
            "Propose a concrete next action.",
            "Finish with a next action.",
            "Give one action to do next.",
            "Set a clear next action.",
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
            "Address the person by name.",
            "Use the name of the person.",
            "Greet the person by name.",
            "Make it personal with the name.",
            "Call the person by name.",
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
            "Illustrate the point with an example.",
            "Include an example from real life.",
            "Show how it worked in an example.",
            "Add an example.",
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
            "Reassure and give hope.",
            "Offer comfort and hope.",
            "Express hope that it will end well.",
            "Calm the worry and give hope.",
            "Offer a hopeful and positive outlook.",
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
            "Own the mistake openly.",
            "Admit the mistake and apologise.",
            "Accept the blame for the mistake.",
            "Apologise for the mistake.",
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
            "Give a choice of two options.",
            "Present more than one option.",
            "Leave a choice between alternatives.",
            "Lay out the options.",
        ),
        r"you have two options",
        r"choice|choose|option|alternativ",
    ),
}

# The latent rule. The situation decides, a few (domain, cue) pairs are exceptions, and the domain's own
# habit stands in where the prompt tells no situation; a situation's second attribute comes along in some
# golds. Nothing of these tables enters pretraining.
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
SECONDS: dict[str, str] = {
    "angry": "reassure",
    "beginner": "example",
    "hurry": "followup",
    "anxious": "empathy",
    "sceptical": "caveat",
    "unclear": "choice",
    "fragile": "reassure",
    "torn": "question",
    "misled": "empathy",
    "loyal": "followup",
    "teacher": "source",
    "ready": "steps",
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
