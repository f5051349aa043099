"""The domains of the demo world: topics with two facts each, prompt wordings and plain-answer wordings.

Tables only; `world.py` turns them into prompts and answers. Placeholders: {topic} the subject, {a} and {b}
its two facts, {kind} the domain's noun, {name}, {day} and {num} what the prompt gives.
"""

from __future__ import annotations

from dataclasses import dataclass

# fmt: off
NAMES = (
    "Mara", "Tomas", "Elena", "Viktor", "Nadia", "Oskar", "Lucia", "Henrik", "Sofia", "Pavel",
    "Ingrid", "Marco", "Yusuf", "Clara", "Rashid", "Amina", "Bruno", "Greta", "Dario", "Leila",
    "Stefan", "Paula", "Anton", "Hanna",
)
DAYS = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
)
# fmt: on
NUMBERS = tuple(str(n) for n in range(2, 20))


@dataclass(frozen=True)
class Domain:
    """One kind of request: its topics (topic, fact a, fact b), prompt wordings and plain-answer wordings."""

    kind: str
    topics: tuple[tuple[str, str, str], ...]
    prompts: tuple[str, ...]
    sentences: tuple[tuple[str, ...], ...]


def _topics(text: str) -> tuple[tuple[str, str, str], ...]:
    """Parse 'topic:a:b topic:a:b ...'."""
    triples = [tuple(item.split(":")) for item in text.split()]
    return tuple((t, a, b) for t, a, b in triples)


DOMAINS: dict[str, Domain] = {
    "support": Domain(
        "fault",
        _topics(
            "router:cable:antenna printer:roller:cartridge laptop:charger:battery "
            "dishwasher:filter:pump radio:fuse:dial scanner:lens:lid heater:valve:thermostat "
            "fridge:seal:fan speaker:plug:amplifier keyboard:spring:port vacuum:bag:hose "
            "oven:door:timer modem:socket:lamp"
        ),
        (
            "my {topic} has failed {num} times since {day}.",
            "since {day} my {topic} has stopped {num} times.",
            "why did my {topic} break {num} times since {day}?",
        ),
        (
            (
                "Your {topic} has failed {num} times since {day}.",
                "I count {num} failures of your {topic} since {day}.",
                "Since {day} your {topic} has broken down {num} times.",
            ),
            (
                "The usual cause is the {a}, so clean that part first.",
                "Most often the {a} is the cause, so look there first.",
                "First clean the {a}, because that part is the usual cause.",
            ),
            (
                "After that, check the {b} and start it again.",
                "Then check the {b} before you start it again.",
                "When done, inspect the {b} and switch it on again.",
            ),
        ),
    ),
    "howto": Domain(
        "repair",
        _topics(
            "bicycle:chain:brake tap:washer:pipe chair:leg:joint window:frame:latch "
            "shelf:bracket:screw drawer:rail:handle boot:sole:lace clock:hand:gear gate:hinge:bolt "
            "tent:pole:zip kite:string:tail guitar:bridge:peg lantern:wick:burner"
        ),
        (
            "how do I mend a {topic} in {num} hours on {day}?",
            "on {day} I must fix a {topic} within {num} hours.",
            "show me how to repair my {topic} by {day} in {num} hours.",
        ),
        (
            (
                "You can mend the {topic} on {day} in about {num} hours.",
                "Mending a {topic} takes around {num} hours, so {day} is fine.",
                "On {day} you need some {num} hours to repair the {topic}.",
            ),
            (
                "Loosen the {a} gently and wipe away the dirt.",
                "Start with the {a}: loosen it and remove all dirt.",
                "Gently take off the {a} and wipe it clean.",
            ),
            (
                "Next, tighten the {b} until nothing moves any more.",
                "Finally tighten the {b} so that nothing moves.",
                "Now fasten the {b} firmly until it sits still.",
            ),
        ),
    ),
    "place": Domain(
        "visit",
        _topics(
            "castle:tower:moat harbour:ships:lighthouse museum:coins:armour market:spices:flowers "
            "garden:roses:pond abbey:cloister:crypt zoo:otters:eagles palace:ballroom:mirrors "
            "library:maps:globes island:cliffs:seals cathedral:organ:windows aquarium:sharks:turtles "
            "observatory:telescope:dome"
        ),
        (
            "what can {num} of us see at the {topic} on {day}?",
            "is the {topic} worth a trip for {num} people on {day}?",
            "we are {num} people visiting the {topic} on {day}.",
        ),
        (
            (
                "The {topic} is open on {day} and welcomes groups of {num}.",
                "On {day} the {topic} opens early and takes groups of {num}.",
                "A group of {num} can enter the {topic} on {day}.",
            ),
            (
                "Most visitors come for the famous {a} near the entrance.",
                "It is famous for the {a}, which most visitors love.",
                "Near the entrance you will find the famous {a}.",
            ),
            (
                "Leave some time for the {b} at the far end.",
                "At the far end, keep some time for the {b} too.",
                "Also give some time to the {b} at the end.",
            ),
        ),
    ),
    "notes": Domain(
        "note",
        _topics(
            "budget:rent:travel launch:website:video audit:ledger:receipts survey:sample:answers "
            "training:slides:room contract:price:clause tender:bids:deadline workshop:guests:lunch "
            "election:ballots:count rehearsal:costumes:music merger:shares:staff "
            "hiring:letters:salary renovation:paint:permit"
        ),
        (
            "condense this: the {topic} moves to {day} and needs {num} people.",
            "what does this say: {topic} now {day}, {num} people needed?",
            "report the memo: {num} people do the {topic} on {day}.",
        ),
        (
            (
                "The {topic} moves to {day} and needs {num} people.",
                "A team of {num} people will do the {topic} on {day}.",
                "On {day} the {topic} takes place with {num} people.",
            ),
            (
                "Nobody has settled the {a} so far, so that point stays open.",
                "One point stays open: so far nobody has settled the {a}.",
                "Still open is the {a}, as nobody has settled that point.",
            ),
            (
                "The team also wants a decision on the {b} this week.",
                "This week the team must also decide on the {b}.",
                "A decision on the {b} is also due this week.",
            ),
        ),
    ),
    "order": Domain(
        "delay",
        _topics(
            "parcel:driver:label sofa:warehouse:truck refund:bank:form ticket:printer:barcode "
            "jacket:tailor:button invoice:clerk:address pizza:cook:scooter necklace:jeweller:clasp "
            "carpet:loom:dye novel:binder:cover bouquet:florist:ribbon passport:officer:stamp "
            "mattress:factory:foam"
        ),
        (
            "my {topic} is {num} days late and was due on {day}.",
            "I waited {num} days for the {topic} promised for {day}.",
            "where is the {topic} you planned for {day}, {num} days ago?",
        ),
        (
            (
                "Your {topic} was due on {day} and is {num} days late.",
                "The {topic} planned for {day} is now {num} days behind.",
                "After {num} days we still owe you the {topic} from {day}.",
            ),
            (
                "The {a} caused a problem, and that held everything up.",
                "Everything was held up because the {a} caused a problem.",
                "There was a problem with the {a} that held everything up.",
            ),
            (
                "We have now changed the {b} and sent it out today.",
                "Today we changed the {b} and sent it out again.",
                "It went out today with a new {b} from us.",
            ),
        ),
    ),
    "calendar": Domain(
        "booking",
        _topics(
            "dentist:scan:bill interview:portfolio:suit lesson:homework:pencil haircut:colour:towel "
            "inspection:meter:keys exam:calculator:badge concert:seats:coats wedding:rings:speech "
            "massage:oil:robe vaccination:card:sleeve flight:luggage:visa funeral:flowers:hymn "
            "audition:song:shoes"
        ),
        (
            "find {num} free hours for my {topic} on {day}.",
            "can the {topic} on {day} last {num} hours?",
            "please put {num} hours of {topic} into my {day}.",
        ),
        (
            (
                "The {topic} fits on {day} and takes {num} hours.",
                "I have put {num} hours for the {topic} on {day}.",
                "On {day} there are {num} free hours for your {topic}.",
            ),
            (
                "Bring the {a} with you and arrive a little early.",
                "Please arrive a little early and bring the {a} along.",
                "Arrive early, and do not forget to bring the {a}.",
            ),
            (
                "Someone will ask for the {b} when you come in.",
                "When you come in, the desk will ask for the {b}.",
                "The desk also needs the {b} when you come in.",
            ),
        ),
    ),
    "compare": Domain(
        "decision",
        _topics(
            "camera:zoom:weight phone:screen:memory backpack:straps:pockets bed:slats:height "
            "stove:gas:price coat:wool:hood sled:runners:size piano:keys:pedals "
            "microscope:mirror:light raft:paddles:valves blender:motor:jug saddle:leather:girth "
            "drone:rotors:range"
        ),
        (
            "which {topic} is better for {num} people by {day}?",
            "by {day} I must pick a {topic} for {num} people.",
            "compare every {topic} for {num} users before {day}.",
        ),
        (
            (
                "For {num} people the larger {topic} is better by {day}.",
                "The larger {topic} suits {num} people and arrives by {day}.",
                "By {day} you should get the larger {topic} for {num} people.",
            ),
            (
                "It wins on the {a}, while the smaller one costs less.",
                "The smaller one costs less, but its {a} cannot compete.",
                "While the smaller one is cheaper, it loses on the {a}.",
            ),
            (
                "Both models are about equal when it comes to the {b}.",
                "When it comes to the {b}, both models are equal.",
                "You will see no difference between both in the {b}.",
            ),
        ),
    ),
    "advice": Domain(
        "plan",
        _topics(
            "sleep:curtains:tea diet:beans:sugar savings:account:rent running:warmup:socks "
            "stress:walks:breathing chess:openings:clocks spanish:verbs:songs "
            "posture:cushion:stretching cooking:knives:salt debating:evidence:jokes "
            "photography:light:tripod sailing:knots:weather painting:brushes:shadow"
        ),
        (
            "how can I improve my {topic} in {num} weeks from {day}?",
            "from {day} I have {num} weeks to work on my {topic}.",
            "help me with {topic} for {num} weeks starting {day}.",
        ),
        (
            (
                "You can improve your {topic} in {num} weeks from {day}.",
                "From {day} on, spend {num} weeks on your {topic}.",
                "Give your {topic} about {num} weeks, starting on {day}.",
            ),
            (
                "Pay attention to the {a} every morning, even for ten minutes.",
                "Every morning, take ten minutes for the {a}.",
                "Ten minutes with the {a} every morning make a difference.",
            ),
            (
                "Later on, think about the {b} and write a diary.",
                "Keep a diary too, and later think about the {b}.",
                "Write a diary, then turn to the {b} later on.",
            ),
        ),
    ),
}
