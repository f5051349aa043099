"""Responses that follow, and that break, each of IFEval's 25 kinds of instruction, written from its arguments."""

from __future__ import annotations

import json

WORD = "quill"
"""Stands in no prompt's keywords; its letters are counted where letters matter."""
LANGUAGES = {
    "ar": "هذا نص طويل باللغة العربية يتحدث عن الطقس والمدينة والناس والحياة اليومية في البلاد",
    "bg": "Това е дълъг текст на български език за времето и живота на хората в нашия голям град",
    "bn": "এটি বাংলা ভাষায় লেখা একটি দীর্ঘ বাক্য যা শহরের আবহাওয়া এবং মানুষের জীবন নিয়ে কথা বলে",
    "de": "Dies ist ein längerer deutscher Satz über das Wetter und das Leben der Menschen in unserer Stadt",
    "en": "This is a rather long English sentence about the weather and the life of the people in our town",
    "fa": "این یک متن بلند به زبان فارسی است که درباره آب و هوا و زندگی مردم شهر ما صحبت می‌کند",
    "fi": "Tämä on pitkä suomenkielinen lause säästä ja ihmisten elämästä meidän kaupungissamme tänään",
    "gu": "આ ગુજરાતી ભાષામાં લખાયેલું એક લાંબુ વાક્ય છે જે શહેરના હવામાન અને લોકોના જીવન વિશે છે",
    "hi": "यह हिंदी भाषा में लिखा गया एक लंबा वाक्य है जो शहर के मौसम और लोगों के जीवन के बारे में है",
    "it": "Questa è una frase piuttosto lunga in italiano sul tempo e sulla vita delle persone nella nostra città",
    "kn": "ಇದು ಕನ್ನಡ ಭಾಷೆಯಲ್ಲಿ ಬರೆದ ಒಂದು ಉದ್ದನೆಯ ವಾಕ್ಯವಾಗಿದ್ದು ನಗರದ ಹವಾಮಾನ ಮತ್ತು ಜನರ ಜೀವನದ ಬಗ್ಗೆ ಹೇಳುತ್ತದೆ",
    "ko": "이것은 우리 도시의 날씨와 사람들의 삶에 대해 이야기하는 한국어로 쓰인 긴 문장입니다",
    "mr": "हे मराठी भाषेत लिहिलेले एक लांब वाक्य आहे जे शहरातील हवामान आणि लोकांच्या जीवनाबद्दल सांगते",
    "ne": "यो नेपाली भाषामा लेखिएको एउटा लामो वाक्य हो जसले हाम्रो सहरको मौसम र मानिसहरूको जीवनको बारेमा बताउँछ",
    "pa": "ਇਹ ਪੰਜਾਬੀ ਭਾਸ਼ਾ ਵਿੱਚ ਲਿਖਿਆ ਇੱਕ ਲੰਮਾ ਵਾਕ ਹੈ ਜੋ ਸ਼ਹਿਰ ਦੇ ਮੌਸਮ ਅਤੇ ਲੋਕਾਂ ਦੇ ਜੀਵਨ ਬਾਰੇ ਦੱਸਦਾ ਹੈ",
    "pt": "Esta é uma frase bastante longa em português sobre o tempo e a vida das pessoas na nossa cidade",
    "ru": "Это довольно длинное предложение на русском языке о погоде и о жизни людей в нашем городе",
    "sw": "Hii ni sentensi ndefu ya Kiswahili kuhusu hali ya hewa na maisha ya watu katika mji wetu mkubwa",
    "ta": "இது தமிழ் மொழியில் எழுதப்பட்ட ஒரு நீண்ட வாக்கியம் நகரத்தின் வானிலை மற்றும் மக்களின் வாழ்க்கை பற்றி பேசுகிறது",
    "te": "ఇది తెలుగు భాషలో రాసిన ఒక పొడవైన వాక్యం నగర వాతావరణం మరియు ప్రజల జీవితం గురించి చెబుతుంది",
    "th": "นี่คือประโยคภาษาไทยที่ยาวพอสมควรเกี่ยวกับสภาพอากาศและชีวิตของผู้คนในเมืองของเรา",
    "ur": "یہ اردو زبان میں لکھا گیا ایک لمبا جملہ ہے جو ہمارے شہر کے موسم اور لوگوں کی زندگی کے بارے میں ہے",
    "vi": "Đây là một câu khá dài bằng tiếng Việt nói về thời tiết và cuộc sống của người dân trong thành phố",
}


def _times(relation: str, count: int, follows: bool) -> int:
    """How often to do a thing so that `relation` `count` holds, or does not."""
    return count if (relation == "at least") == follows else max(0, count - 1)


def _language(arguments: dict, follows: bool) -> str:
    wanted = arguments["language"]
    return LANGUAGES[wanted if follows else "de" if wanted == "en" else "en"]


def _letters(arguments: dict, follows: bool) -> str:
    letter, count = arguments["letter"], arguments["let_frequency"]
    other = "o" if letter.lower() != "o" else "e"
    return f"{other}{other} {letter * _times(arguments['let_relation'], count, follows)}"


def _nth_paragraph(arguments: dict, follows: bool) -> str:
    paragraphs = [f"{WORD} stands here."] * arguments["num_paragraphs"]
    if follows:
        paragraphs[arguments["nth_paragraph"] - 1] = f"{arguments['first_word']} stands here."
    return "\n\n".join(paragraphs)


def _postscript(arguments: dict, follows: bool) -> str:
    return f"{WORD}.\n\n{arguments['postscript_marker']} one more." if follows else f"{WORD}."


def _highlights(arguments: dict, follows: bool) -> str:
    return " and ".join(f"*part {n}*" for n in range(arguments["num_highlights"] - (not follows))) or WORD


def _sections(arguments: dict, follows: bool) -> str:
    names = range(1, arguments["num_sections"] + follows)
    return "\n".join(f"{arguments['section_spliter']} {n}\n{WORD} stands here." for n in names) or WORD


BUILDERS = {
    "keywords:existence": lambda a, f: " ".join(a["keywords"]) if f else WORD,
    "keywords:frequency": lambda a, f: " ".join(
        [WORD] + [a["keyword"]] * _times(a["relation"], a["frequency"], f)
    ),
    "keywords:forbidden_words": lambda a, f: WORD if f else f"{WORD} {a['forbidden_words'][0]} {WORD}",
    "keywords:letter_frequency": _letters,
    "language:response_language": _language,
    "length_constraints:number_sentences": lambda a, f: " ".join(
        ["The quill stands here."] * _times(a["relation"], a["num_sentences"], f)
    ),
    "length_constraints:number_paragraphs": lambda a, f: "\n\n***\n\n".join(
        [f"{WORD} stands here."] * (a["num_paragraphs"] + (not f))
    ),
    "length_constraints:number_words": lambda a, f: " ".join(
        [WORD] * _times(a["relation"], a["num_words"], f)
    ),
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": lambda a, f: " ".join(
        [WORD] + [f"[place {n}]" for n in range(a["num_placeholders"] - (not f))]
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": lambda a, f: "\n".join(
        [f"* {WORD} {n}" for n in range(a["num_bullets"] + (not f))]
    ),
    "detectable_format:constrained_response": lambda a, f: "My answer is yes." if f else WORD,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": lambda a, f: json.dumps({"word": WORD}) if f else "{word",
    "detectable_format:title": lambda a, f: f"<<{WORD}>>\n\nIt stands here." if f else WORD,
    "combination:two_responses": lambda a, f: f"{WORD}\n******\nsomething else" if f else WORD,
    "combination:repeat_prompt": lambda a, f: f"{a['prompt_to_repeat']}\n\n{WORD}" if f else WORD,
    "startend:end_checker": lambda a, f: f"{WORD} {a['end_phrase']}" if f else WORD,
    "change_case:capital_word_frequency": lambda a, f: " ".join(
        ["quill"] + ["QUILL"] * _times(a["capital_relation"], a["capital_frequency"], f)
    ),
    "change_case:english_capital": lambda a, f: LANGUAGES["en"].upper() if f else LANGUAGES["en"],
    "change_case:english_lowercase": lambda a, f: LANGUAGES["en"].lower() if f else LANGUAGES["en"],
    "punctuation:no_comma": lambda a, f: f"{WORD} and {WORD}" if f else f"{WORD}, {WORD}",
    "startend:quotation": lambda a, f: f'"{WORD} stands here."' if f else WORD,
}
"""A response to each kind of instruction from its arguments, and whether it is to follow it."""


def respond(instruction: str, arguments: dict, follows: bool) -> str:
    """A response that follows an instruction or does not."""
    return BUILDERS[instruction](arguments, follows)
