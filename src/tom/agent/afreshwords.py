"""Words of a wish to begin anew, in many languages.

A model may take any message for such a wish, a greeting above all. Its word alone resets nothing: the person's own text
must say it. In a language that is not in the table the message is answered as it is, and `/reset` begins anew.
"""

import re
import unicodedata
from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "start over", "start again", "start afresh", "start anew", "start fresh", "start from", "start a new",
        "start a fresh", "start something new", "starting over", "starting afresh", "begin again", "begin anew",
        "begin afresh", "begin a new", "fresh start", "clean slate", "from scratch", "from the beginning", "new chat",
        "new conversation", "new dialogue", "new discussion", "new session", "new thread", "new topic", "new subject",
        "different topic", "another topic", "change the topic", "change the subject", "change topic", "reset", "restart",
        "forget all", "forget everything", "forget it", "forget our", "forget that", "forget the", "forget this",
        "forget what", "clear the", "clear this", "clear our", "clear my", "clear chat", "clear history", "wipe the",
        "wipe this", "wipe our", "wipe everything", "drop everything", "leave all that", "scratch that",
    ),
    "fa": (
        "از نو شروع", "از اول شروع", "از ابتدا شروع", "از سر شروع", "از سر نو", "گفتگوی جدید", "گفتگوی تازه", "گفت و گوی جدید", "گفت و گوی تازه",
        "مکالمه جدید", "مکالمه ی جدید", "مکالمه تازه", "مکالمه ی تازه", "چت جدید", "چت تازه", "موضوع جدید", "موضوع تازه",
        "موضوع دیگر", "بحث جدید", "فراموش کن", "فراموشش کن", "پاک کن", "ریست", "دوباره شروع", "شروع دوباره", "شروع تازه",
    ),
    "ar": (
        "نبدا من جديد", "لنبدا من جديد", "ابدا من جديد", "البدء من جديد", "من البداية", "من الصفر", "محادثة جديدة", "دردشة جديدة", "حوار جديد", "موضوع جديد", "موضوع اخر",
        "انس كل", "انسى كل", "انس ما", "انسى ما", "انس هذا", "انسى هذا", "انس المحادثة", "اعد ضبط", "اعادة ضبط",
        "امسح", "بداية جديدة", "ابدا محادثة", "ابدأ محادثة",
    ),
    "he": (
        "להתחיל מחדש", "נתחיל מחדש", "תתחיל מחדש", "התחל מחדש", "מההתחלה", "מאפס", "שיחה חדשה", "צ'אט חדש", "צאט חדש", "נושא חדש", "נושא אחר", "תשכח מ", "תשכחי מ", "תשכח את", "שכח מ",
        "שכח את", "איפוס", "אפס את", "תאפס", "דף חדש", "מחק את", "תמחק את",
    ),
    "ur": ("نئے سرے", "شروع سے", "دوبارہ شروع", "نئی گفتگو", "نئی بات چیت", "نیا موضوع", "بھول جاؤ", "بھول جائیں"),
    "zh": (
        "重新开始", "重新開始", "从头", "從頭", "新对话", "新對話", "新的对话", "新的對話", "新聊天", "新的聊天", "新会话",
        "新會話", "新的会话", "新的會話", "新话题", "新話題", "新的话题", "新的話題", "换个话题", "換個話題", "换一个话题",
        "換一個話題", "忘掉", "忘记这", "忘记之前", "忘记我们", "忘记我说", "忘记刚才", "忘记一切", "忘记所有", "忘记以上", "忘记前面",
        "忘記這", "忘記之前", "忘記我們", "忘記我說", "忘記剛才", "忘記一切", "忘記所有", "忘了这", "忘了之前", "忘了我们", "忘了刚才", "重置", "清空", "清除", "重来", "重來",
    ),
    "ja": (
        "最初から", "はじめから", "初めから", "一から", "やり直", "やりなお", "新しい会話", "新しいチャット", "新しいスレッド",
        "新しい話題", "新しいトピック", "別の話題", "話題を変え", "話を変え", "忘れてくだ", "忘れて下さい", "忘れてくれ", "忘れてほし", "忘れましょう", "全部忘れ", "全て忘れ", "すべて忘れ", "リセット", "仕切り直",
        "会話を始め直", "消去",
    ),
    "ko": (
        "처음부터", "다시 시작", "새로 시작", "새롭게 시작", "새 대화", "새로운 대화", "새 채팅", "새로운 채팅", "새 주제",
        "새로운 주제", "다른 주제", "주제를 바꾸", "다 잊어", "모두 잊어", "전부 잊어", "모든 걸 잊어", "모든 것을 잊어", "잊어줘", "잊어 줘", "잊고 새로", "잊고 다시", "초기화", "리셋", "지워",
    ),
    "hi": (
        "नए सिरे", "नये सिरे", "शुरू से", "फिर से शुरू", "दोबारा शुरू", "नई बातचीत", "नयी बातचीत", "नई चैट", "नया विषय",
        "नया चैट", "भूल जाओ", "भूल जाइए", "रीसेट",
    ),
    "bn": ("নতুন করে", "শুরু থেকে", "আবার শুরু", "নতুন কথোপকথন", "নতুন চ্যাট", "নতুন বিষয়", "ভুলে যাও", "ভুলে যান", "রিসেট"),
    "ta": ("புதிதாக", "முதலில் இருந்து", "புதிய உரையாடல்", "மறந்துவிடு"),
    "th": ("เริ่มใหม่", "เริ่มต้นใหม่", "แชทใหม่", "บทสนทนาใหม่", "การสนทนาใหม่", "หัวข้อใหม่", "เปลี่ยนเรื่อง", "ลืมทุก", "ลืมเรื่อง", "ลืมมัน", "รีเซ็ต"),
    "vi": ("bắt đầu lại", "từ đầu", "cuộc trò chuyện mới", "hội thoại mới", "đoạn chat mới", "chủ đề mới", "quên hết", "quên đi",
           "quên tất cả", "đặt lại"),
    "id": ("mulai lagi", "mulai dari awal", "dari awal", "mulai ulang", "percakapan baru", "obrolan baru", "topik baru",
           "topik lain", "lupakan semua", "lupakan yang", "lupakan percakapan", "lupakan itu", "lupakan saja", "atur ulang", "mula semula", "perbualan baharu", "perbualan baru"),
    "ru": (
        "заново", "сначала", "с нуля", "с чистого листа", "с начала", "новый разговор", "нового разговора", "новую беседу",
        "новая беседа", "новый диалог", "новый чат", "новую тему", "новая тема", "другую тему", "другая тема", "сменим тему",
        "смени тему", "забудь все", "забудьте все", "забудь это", "забудь о том", "забудь об этом", "забудь наш", "забудь что", "забыть все", "сбрось", "сбросить", "сброс", "очисти", "перезапусти",
    ),
    "uk": (
        "спочатку", "з нуля", "з чистого аркуша", "заново", "нову розмову", "нова розмова", "новий діалог", "новий чат",
        "нову тему", "нова тема", "іншу тему", "забудь все", "забудьте все", "забудь про все", "забудь це", "забудь що", "скинь", "скинути", "очисти",
    ),
    "bg": ("отначало", "наново", "нов разговор", "нов чат", "нова тема", "забрави всичко", "нулирай"),
    "sr": ("ispočetka", "iz početka", "iznova", "novi razgovor", "nov razgovor", "novu temu", "nova tema", "zaboravi sve", "zaboravi ovo",
           "испочетка", "из почетка", "изнова", "нови разговор", "нову тему", "заборави све", "resetiraj", "resetuj"),
    "pl": ("od nowa", "od początku", "od zera", "nową rozmowę", "nowa rozmowa", "nowy czat", "nowy temat", "inny temat",
           "zmieńmy temat", "zmień temat", "zapomnij o wszystkim", "zapomnij wszystko", "zapomnij o tym", "zapomnij co", "zapomnij o naszej", "zresetuj", "wyczyść"),
    "cs": ("od začátku", "od znova", "odznova", "od nuly", "znovu začít", "začít znovu", "začněme znovu", "nový rozhovor",
           "nová konverzace", "novou konverzaci", "nový chat", "nové téma", "jiné téma", "zapomeň na vš", "zapomeň vš", "zapomeň, co", "zapomeň na to", "zapomeňte na vš", "resetuj"),
    "sk": ("od začiatku", "odznova", "začať znova", "začnime znova", "nový rozhovor", "novú konverzáciu", "nová téma",
           "novú tému", "zabudni na vš", "zabudni vš", "zabudnite na vš"),
    "de": (
        "von vorn", "von neuem", "von null", "von anfang an", "neu anfangen", "neu beginnen", "neu starten", "wir neu an", "uns neu an",
        "neuanfang", "neustart", "neues gespräch", "neuen gespräch", "neue unterhaltung", "neuen unterhaltung",
        "neuer chat", "neuen chat", "neue sitzung", "neues thema", "neuen thema", "anderes thema", "themenwechsel",
        "thema wechseln", "vergiss alles", "vergiss das", "vergiss was", "vergiss, was", "vergiss bitte", "vergiss unser", "vergiss dies",
        "vergessen wir", "zurücksetzen", "setz zurück", "lösch",
    ),
    "nl": ("opnieuw", "van voren af", "van nul", "nieuw gesprek", "nieuwe chat", "nieuw onderwerp", "ander onderwerp",
           "vergeet alles", "vergeet dit", "vergeet dat", "vergeet het", "vergeet wat", "vergeet ons", "wis dit", "wis het"),
    "sv": ("börja om", "börja på nytt", "från början", "från noll", "ny konversation", "nytt samtal", "ny chatt", "nytt ämne",
           "annat ämne", "glöm allt", "glöm det", "glöm detta", "nollställ", "återställ"),
    "da": ("begynd forfra", "starte forfra", "start forfra", "forfra", "fra begyndelsen", "ny samtale", "ny chat", "nyt emne",
           "andet emne", "glem alt", "glem det", "glem dette", "nulstil"),
    "no": ("begynn på nytt", "begynne på nytt", "start på nytt", "starte på nytt", "fra begynnelsen", "ny samtale", "nytt emne",
           "nytt tema", "glem alt", "glem det", "glem dette", "nullstill"),
    "fi": ("aloita alusta", "aloitetaan alusta", "alusta", "uusi keskustelu", "uuden keskustelun", "uusi aihe", "toinen aihe",
           "unohda kaikki", "unohda mitä", "unohda tämä", "unohda keskustelu", "nollaa"),
    "et": ("algusest", "uuesti alust", "alusta uuesti", "uus vestlus", "uut vestlust", "uus teema", "unusta kõik"),
    "lv": ("no jauna", "no sākuma", "jauna saruna", "jaunu sarunu", "jauna tēma", "jaunu tēmu", "aizmirsti visu"),
    "lt": ("iš naujo", "nuo pradžių", "naujas pokalbis", "naują pokalbį", "nauja tema", "naują temą", "pamiršk viską"),
    "hu": ("elölről", "előlről", "újra kezd", "kezdjük újra", "kezdd újra", "újrakezd", "új beszélgetés", "új csevegés",
           "új téma", "más téma", "felejtsd el", "felejtsük el"),
    "ro": ("de la capăt", "de la început", "de la zero", "conversație nouă", "o nouă conversație", "discuție nouă",
           "subiect nou", "alt subiect", "uită tot", "uită de", "uită ce", "resetează"),
    "el": ("από την αρχή", "από το μηδέν", "ξανά από", "νέα συζήτηση", "νέα συνομιλία", "νέο θέμα", "άλλο θέμα", "ξέχασε τα", "ξέχασε ό",
           "ξέχασέ το", "ξέχασε το", "ξέχνα τα", "ξέχνα το", "ξέχνα ό", "επαναφορά"),
    "tr": ("baştan", "sıfırdan", "yeniden başla", "tekrar başla", "yeni bir sohbet", "yeni sohbet", "yeni konuşma",
           "yeni bir konuşma", "yeni konu", "yeni bir konu", "başka bir konu", "başka konu", "şeyi unut", "hepsini unut", "bunu unut", "unutalım", "konuştuklarımızı unut", "unut gitsin", "sıfırla"),
    "az": ("yenidən başla", "əvvəldən", "sıfırdan", "yeni söhbət", "yeni mövzu", "şeyi unut"),
    "fr": (
        "recommenc", "repartir de", "repartons de", "repars de", "depuis le début", "du début", "à zéro", "de zéro",
        "nouvelle conversation", "nouvelle discussion", "nouveau chat", "nouveau sujet", "autre sujet", "changer de sujet",
        "changeons de sujet", "oublie tout", "oublie ça", "oublie ce", "oublie cette", "oublie notre", "oublions",
        "oubliez tout", "oubliez ce", "réinitialis", "efface", "table rase",
    ),
    "es": (
        "de nuevo desde", "empezar de nuevo", "empecemos de nuevo", "empieza de nuevo", "comenzar de nuevo",
        "comencemos de nuevo", "comienza de nuevo", "desde el principio", "desde cero", "de cero",
        "nueva conversación", "conversación nueva", "nuevo chat", "nueva charla", "nuevo tema", "otro tema",
        "cambiar de tema", "cambiemos de tema", "olvida todo", "olvida lo", "olvida est", "olvida nuestr", "olvídalo", "olvidemos", "olvídate de todo", "reinicia", "reiniciar",
        "restablec", "borrón y cuenta nueva", "borra",
    ),
    "ca": ("començar de nou", "comencem de nou", "comença de nou", "des del principi", "des de zero", "de zero", "nova conversa", "tema nou", "un altre tema", "oblida-ho", "oblida tot", "oblidem"),
    "pt": (
        "começar de novo", "comecemos de novo", "recomeçar", "recomecemos", "recomece", "desde o início", "do início",
        "do zero", "nova conversa", "novo chat", "novo bate-papo", "novo assunto", "outro assunto", "novo tema",
        "mudar de assunto", "esquece tudo", "esquece isso", "esquece o que", "esqueça tudo", "esqueça isso", "esqueça o que", "esquecer tudo", "reinicia", "reiniciar", "redefin", "apaga",
    ),
    "it": (
        "ricominci", "da capo", "daccapo", "dall'inizio", "da zero", "nuova conversazione", "nuova chat", "nuovo argomento",
        "altro argomento", "cambiamo argomento", "cambiare argomento", "dimentica tutto", "dimentica quello", "dimentica quest", "dimentica ciò", "dimentica quanto", "dimentichiamo", "reimposta", "azzera",
        "cancella",
    ),
    "sw": ("anza upya", "anza tena", "tuanze upya", "tuanze tena", "mazungumzo mapya", "mada mpya", "sahau yote", "sahau kila"),
    "eo": ("rekomenc", "denove komenc", "nova konversacio", "nova temo", "forgesu"),
}  # fmt: skip
"""Language -> beginnings of what such a wish says. One of them must stand in the text at the beginning of a word."""

_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
"""Letters of scripts that put nothing between words."""

_SAME = str.maketrans({"ي": "ی", "ى": "ی", "ك": "ک", "ة": "ه", "ı": "i", "ł": "l", "đ": "d", "ø": "o"})


def wishes_afresh(text: str) -> bool:
    """Whether the text itself says that something is to begin anew or be forgotten. No greeting does."""
    spoken = f" {_plain(text)}"
    return any(phrase in spoken for phrase in _PHRASES)


def _plain(text: str) -> str:
    """The words in small letters, without accents, with one blank between them."""
    apart = unicodedata.normalize("NFKD", text.casefold().translate(_SAME))
    bare = "".join(letter for letter in apart if unicodedata.category(letter) not in {"Mn", "Mc"})
    return re.sub(r"[\W_]+", " ", bare).strip()


def _phrase(words: str) -> str:
    return _plain(words) if _UNSPACED.search(words) else f" {_plain(words)}"


_PHRASES = frozenset(_phrase(words) for phrases in WORDS.values() for words in phrases)
