"""The situation cues of the demo world, several wordings each, and a plain description of each situation."""

from __future__ import annotations

# How the prompt tells a situation. The first four wordings are for train, dev and test, the last two only
# for the shifted cues. Pretraining sees all of them, but always independent of any attribute.
CUES: dict[str, tuple[str, ...]] = {
    "angry": (
        "This makes me so angry.",
        "I am really fed up.",
        "It is driving me mad.",
        "I am furious by now.",
        "I have had enough of it.",
        "My patience is gone.",
    ),
    "beginner": (
        "I have never done this before.",
        "I am new to all this.",
        "I am a complete beginner.",
        "I know nothing about it.",
        "This is my very first time.",
        "I have no experience here.",
    ),
    "hurry": (
        "I am in a hurry.",
        "I only have a minute.",
        "My train leaves soon.",
        "Please be quick about it.",
        "There is little time left.",
        "I must run in a moment.",
    ),
    "anxious": (
        "I am anxious about this.",
        "It keeps me awake at night.",
        "I am scared of what comes.",
        "I fear the worst.",
        "I am nervous about it.",
        "My heart is racing.",
    ),
    "sceptical": (
        "I doubt what people say.",
        "I do not trust rumours.",
        "My boss wants proof.",
        "Is that really true?",
        "I have heard false claims.",
        "I want to verify it.",
    ),
    "unclear": (
        "I am not sure what I need.",
        "I cannot explain it well.",
        "Something is odd somehow.",
        "It is hard to put into words.",
        "I do not know where I stand.",
        "My thoughts are a muddle.",
    ),
    "fragile": (
        "There are small children around.",
        "My mother is very frail.",
        "We have a baby at home.",
        "My health is poor.",
        "My son is allergic.",
        "An old aunt lives with us.",
    ),
    "torn": (
        "I cannot make up my mind.",
        "My wife and I disagree.",
        "I keep going back and forth.",
        "We are torn about it.",
        "I am in two minds.",
        "Nobody in my family agrees.",
    ),
    "misled": (
        "You told me wrong last time.",
        "Your last reply was false.",
        "You promised and forgot.",
        "Your team misled me.",
        "Your earlier reply failed me.",
        "I was misinformed by you.",
    ),
    "loyal": (
        "I have been a customer for years.",
        "You helped me last spring.",
        "We met at the fair.",
        "It is my birthday today.",
        "I am a loyal member.",
        "It was lovely talking before.",
    ),
    "teacher": (
        "I want to explain it to my class.",
        "My pupils will ask me.",
        "I am writing a school essay.",
        "I teach this subject.",
        "I am giving a lecture.",
        "My students want to learn it.",
    ),
    "ready": (
        "I want to get going today.",
        "I am ready to begin.",
        "Let us get this done.",
        "I will start right away.",
        "I am eager to start.",
        "My tools are out already.",
    ),
    "none": ("",),
}
TRAIN_PHRASINGS = 4

# What the pretraining task "describe the situation" answers.
SITUATIONS: dict[str, str] = {
    "angry": "The user is angry.",
    "beginner": "The user is a beginner.",
    "hurry": "The user is short of time.",
    "anxious": "The user is anxious.",
    "sceptical": "The user doubts claims.",
    "unclear": "The user is unclear.",
    "fragile": "The user lives with someone fragile.",
    "torn": "The user is torn.",
    "misled": "The user was misled.",
    "loyal": "The user is an old friend.",
    "teacher": "The user is a teacher.",
    "ready": "The user is ready.",
    "none": "The user tells no background.",
}
