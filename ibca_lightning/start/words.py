"""Words and names by which `ibca init` knows a column: one place to add those of your clinic or language."""

import re

from ibca_lightning.data.tables.groups.grouping import without_accents


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split("|"))


# A word of a cell, in lower case.
ABSENT = _words(
    "absent|none|no|normal|healthy|negative|neg|nothing|nil|unremarkable|no finding|no findings|no lesion|no disease",
    "no abnormality|without finding|not present|absence|unchecked|0|0.0|-|−|–|neg.|kein|keine|keiner|nein|ohne befund",
    "o.b.|unauffällig|gesund|nicht vorhanden|negativ|nee|nej|aucun|aucune|non|sain|négatif|ninguno|ninguna|sano",
    "negativo|nessuno|assente|não|nie|brak|нет|なし|正常|无",
)
WEAK = _words("+/-|+/−|+/–|-/+|+-|±|(+)")  # between absent and present: unknown, but said
UNSURE = WEAK | _words(
    "unsure|uncertain|unclear|unknown|not sure|possible|possibly|maybe|equivocal|indeterminate|ungradable|?",
    "questionable|doubtful|suspected|missing|not done|not available|not assessed|n.d.|k.a.|.",
    "unklar|unbekannt|fraglich|verdacht|incertain|incierto|不确定",
)
PRESENT = _words(
    "x|✓|✔|+|ja|j|vorhanden|positiv|oui|présent|présence|presence|positif|si|sí|sì|presente|positivo|sim|tak|seen|found",
    "pos.|checked|да|есть|あり|有|是",
)
MARKS = _words(
    "x|✓|✔|+|1|1.0|yes|y|true|ja|j|oui|si|sí|sì|sim|tak|present|vorhanden|positive|positiv|checked"
)  # alone, beside blanks
FINDINGS = _words("missing")  # unknown beside yes and no, but a name in a list, as of teeth
# What a name begins or ends with that is not sure.
DOUBT = re.compile(
    r"(?i)^(possibl[ey]|probabl[ey]|suspected|suspicion of|suspicious for|susp\.|questionable|doubtful|equivocal|maybe"
    r"|likely|cannot exclude|rule out|r/o|v\. ?a\.|verdacht auf|verdächtig auf|fraglich\w*|evtl\.|eventuell"
    r"|mögliche?[rs]?|suspicion de|sospecha de|posible|dd:)\s+(?=\w)|^\?\s*(?=\w)"
    r"|(?<=\w)\W*(\?|\((possible|probable|suspected|unsure|uncertain|fraglich|v\. ?a\.|\?)\))$"
)
NO = re.compile(r"(?i)(no|without|keine?|ohne|sans|sin|senza) \w")  # what a word of absence begins with
# Cells each word of which is one of a split; no word is made of two others, which would take for ever.
PART = re.compile(
    r"(?i)([ _/-]{0,3}(train(ing)?|test(ing)?|val(id(ation)?)?|dev(elop(ment)?)?|eval(uation)?|hold|out|deriv(ation)?"
    r"|public|private|extern(al)?|intern(al)?|unused|extra|entra[iî]nement|apprentissage|tuning|set|data|split|cohort"
    r"|sample|images)(\d{1,3})?)+([ _-]{1,3}\d{1,3})?"
)
RESULT = _words("positive|negative|pos|neg|pos.|neg.|positiv|negativ|positif|négatif|positivo|negativo|+|-|−|–")
SIDES = _words("l|r|left|right|od|os|links|rechts|gauche|droite|frontal|lateral|ap|pa")
SEXES = _words("m|f|w|d|h|male|female|man|woman|männlich|weiblich|homme|femme|hombre|mujer|diverse|other")


def _named(*words: str) -> re.Pattern[str]:
    """A name that is, begins or ends with one of some words, or holds it between marks; as `spaced` writes it."""
    return re.compile(rf"(?:^|[^a-z])(?:{'|'.join(words)})(?:$|[^a-z])", re.I)


IMAGE = _named(
    "images?", "img", "files?", "filename", "path", "pictures?", "photos?", "fundus", "dcm", "dicom", "png",
    "bild(?:er)?", "datei", "fichiers?", "imagen(?:es)?", "archivos?", "immagini?", "obraz", "plik",
)  # fmt: skip
DATE = _named(
    "dates?", "time", "timestamp", "year", "dob", "birth", "datum", "acquired", "created", "geburtstag", "geburtsdatum",
    "naissance", "fecha", "nacimiento",
)  # fmt: skip
SEX = _named("sex", "gender", "geschlecht", "sexe", "sexo", "sesso", "plec")
AGE = _named("age", "alter", "edad", "eta", "wiek", "years")
SUBGROUP = _named(
    "sites?", "hospitals?", "cent(?:er|re)s?", "clinics?", "institution", "device", "camera", "scanner", "vendor",
    "manufacturer", "model", "machine", "ethnicity", "race", "fitzpatrick", "skin ?type", "eye", "side", "laterality",
    "view", "position", "location", "localization", "country", "seite", "auge", "klinik", "gerae?t", "zentrum",
    "standort", "lokalisation", "appareil", "hopital", "oeil", "cote", "equipo", "centro", "ojo", "apparecchio",
)  # fmt: skip
LABEL = _named(
    "labels?", "findings?", "diagnos[ie]s", "dx", "disease", "diseases", "pathology", "class", "category", "condition",
    "conditions", "befund", "diagnose", "target", "diagnosti[ck]o?", "diagnosi", "hallazgos?", "rozpoznanie",
)  # fmt: skip
COUNT = _named("n", "num", "number", "count", "counts", "anzahl", "nombre", "numero")
SIZE = _named("widths?", "heights?", "bits?", "slices?", "rows", "cols", "columns", "frames?", "channels?", "thickness")
GRADE = _named("grade", "grading", "stage", "severity", "score", "level", "birads", "bi-rads", "icdr")
NOTES = _named(
    "notes?",
    "comments?",
    "remarks?",
    "report",
    "text",
    "description",
    "bemerkung",
    "freetext",
    "url",
    "hash",
    "remarques?",
    "commentaires?",
    "comentarios?",
    "observaciones",
    "uwagi",
)
_OF_SPLIT = (
    "(?:splits?|subset|partition|usage|folds?|train(?:ing)?|test(?:ing)?|validation|val|holdout|(?:data ?)?set) ?\\d*"
)
# A name that is nothing but such words: a `skin test` finds something, an `annotation_set` says who drew.
SPLIT = re.compile(rf"(?:(?:is|in|cv|data|random|official) )?{_OF_SPLIT}(?: {_OF_SPLIT})*")
NO_FINDING = _named(
    "quality", "(?:un)?gradable", "(?:un)?usable", "(?:un)?readable", "blur(?:red|ry)?", "(?:in)?adequate",
    "pred(?:icted|ictions?|s)?", "prob(?:ability)?", "ai", "masks?", "annotat(?:ed|ions?)", "duplicates?", "consent",
    "flagged", "valid", "excluded?", "include", "smok(?:er|ing)", "dead", "death", "died", "survival", "treated",
    "treatment", "medication", "checked", "reviewed",
    "(?:dx|diagnosis|diagnostic) (?:type|method|source)", "confirm(?:ed|ation)",
)  # fmt: skip


def spaced(name: str) -> str:
    """Return a name in words without accents: `PatientID` and `patient_id` as `patient id`, `Âge` as `age`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", without_accents(name))
    return " ".join(name.replace("_", " ").lower().split())
