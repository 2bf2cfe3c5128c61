"""
The 48 countries and what the articles say about each.

Chosen so that the pictures can be told apart (no Chad beside Romania, no Monaco beside Indonesia)
and the facts hold still (no country that changed its currency or its capital lately).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Setting(StrEnum):
    """How a country's surroundings are described."""

    BORDERS = "borders"  #: Every country it shares a land border with.
    COASTS = "coasts"  #: The seas it has its coasts on.
    ISLAND = "island"  #: The seas around it.


@dataclass(frozen=True, slots=True)
class Country:
    """
    One country's facts.

    Attributes:
        code: ISO 3166-1 alpha-2 in lower case; also the key of its flag.
        languages: Official languages, or the main ones where the law names none.
        places: Neighbours or seas, as *setting* says.
        domain: Country-code top-level domain with its dot.
        demonym: The adjective for its people.
        definite: Whether the name takes "the" in a sentence.
    """

    code: str
    name: str
    region: str
    capital: str
    languages: str
    currency: str
    setting: Setting
    places: str
    domain: str
    demonym: str
    definite: bool = False

    @property
    def full_name(self) -> str:
        """The name as it stands in the middle of a sentence."""
        return f"the {self.name}" if self.definite else self.name


_B, _C, _I = Setting.BORDERS, Setting.COASTS, Setting.ISLAND

#: One row per country, the fields in the order of `Country`.
_ROWS: Final[tuple[tuple[str, str, str, str, str, str, Setting, str, str], ...]] = (
    ("ae", "United Arab Emirates", "Western Asia", "Abu Dhabi", "Arabic", "UAE dirham",
     _B, "Saudi Arabia, Oman", "Emirati"),
    ("am", "Armenia", "the Caucasus", "Yerevan", "Armenian", "dram",
     _B, "Georgia, Azerbaijan, Iran, Turkey", "Armenian"),
    ("at", "Austria", "Central Europe", "Vienna", "German", "euro",
     _B, "Germany, Czechia, Slovakia, Hungary, Slovenia, Italy, Switzerland, Liechtenstein",
     "Austrian"),
    ("bd", "Bangladesh", "South Asia", "Dhaka", "Bengali", "taka",
     _B, "India, Myanmar", "Bangladeshi"),
    ("be", "Belgium", "Western Europe", "Brussels", "Dutch, French, German", "euro",
     _B, "France, the Netherlands, Germany, Luxembourg", "Belgian"),
    ("bs", "Bahamas", "the Caribbean", "Nassau", "English", "Bahamian dollar",
     _I, "the Atlantic Ocean", "Bahamian"),
    ("ca", "Canada", "North America", "Ottawa", "English, French", "Canadian dollar",
     _C, "the Atlantic Ocean, the Pacific Ocean, the Arctic Ocean", "Canadian"),
    ("ch", "Switzerland", "Central Europe", "Bern", "German, French, Italian, Romansh",
     "Swiss franc", _B, "Germany, France, Italy, Austria, Liechtenstein", "Swiss"),
    ("cl", "Chile", "South America", "Santiago", "Spanish", "Chilean peso",
     _B, "Peru, Bolivia, Argentina", "Chilean"),
    ("co", "Colombia", "South America", "Bogotá", "Spanish", "Colombian peso",
     _C, "the Caribbean Sea, the Pacific Ocean", "Colombian"),
    ("cr", "Costa Rica", "Central America", "San José", "Spanish", "colón",
     _B, "Nicaragua, Panama", "Costa Rican"),
    ("cu", "Cuba", "the Caribbean", "Havana", "Spanish", "Cuban peso",
     _I, "the Caribbean Sea, the Atlantic Ocean, the Gulf of Mexico", "Cuban"),
    ("cz", "Czechia", "Central Europe", "Prague", "Czech", "koruna",
     _B, "Germany, Poland, Slovakia, Austria", "Czech"),
    ("de", "Germany", "Central Europe", "Berlin", "German", "euro",
     _C, "the North Sea, the Baltic Sea", "German"),
    ("dk", "Denmark", "Northern Europe", "Copenhagen", "Danish", "Danish krone",
     _C, "the North Sea, the Baltic Sea", "Danish"),
    ("ee", "Estonia", "Northern Europe", "Tallinn", "Estonian", "euro",
     _B, "Latvia, Russia", "Estonian"),
    ("fi", "Finland", "Northern Europe", "Helsinki", "Finnish, Swedish", "euro",
     _B, "Sweden, Norway, Russia", "Finnish"),
    ("fr", "France", "Western Europe", "Paris", "French", "euro",
     _C, "the Atlantic Ocean, the Mediterranean Sea, the North Sea", "French"),
    ("ga", "Gabon", "Central Africa", "Libreville", "French", "Central African CFA franc",
     _B, "Cameroon, Equatorial Guinea, the Republic of the Congo", "Gabonese"),
    ("gh", "Ghana", "West Africa", "Accra", "English", "cedi",
     _B, "Ivory Coast, Burkina Faso, Togo", "Ghanaian"),
    ("gn", "Guinea", "West Africa", "Conakry", "French", "Guinean franc",
     _B, "Guinea-Bissau, Senegal, Mali, Ivory Coast, Liberia, Sierra Leone", "Guinean"),
    ("gr", "Greece", "Southern Europe", "Athens", "Greek", "euro",
     _B, "Albania, North Macedonia, Bulgaria, Turkey", "Greek"),
    ("hu", "Hungary", "Central Europe", "Budapest", "Hungarian", "forint",
     _B, "Austria, Slovakia, Ukraine, Romania, Serbia, Croatia, Slovenia", "Hungarian"),
    ("ie", "Ireland", "Western Europe", "Dublin", "Irish, English", "euro",
     _B, "the United Kingdom", "Irish"),
    ("in", "India", "South Asia", "New Delhi", "Hindi, English", "Indian rupee",
     _C, "the Arabian Sea, the Bay of Bengal, the Indian Ocean", "Indian"),
    ("is", "Iceland", "Northern Europe", "Reykjavik", "Icelandic", "Icelandic krona",
     _I, "the Atlantic Ocean, the Arctic Ocean", "Icelandic"),
    ("it", "Italy", "Southern Europe", "Rome", "Italian", "euro",
     _C, "the Mediterranean Sea", "Italian"),
    ("jm", "Jamaica", "the Caribbean", "Kingston", "English", "Jamaican dollar",
     _I, "the Caribbean Sea", "Jamaican"),
    ("jp", "Japan", "East Asia", "Tokyo", "Japanese", "yen",
     _I, "the Pacific Ocean, the Sea of Japan, the East China Sea, the Sea of Okhotsk", "Japanese"),
    ("la", "Laos", "Southeast Asia", "Vientiane", "Lao", "kip",
     _B, "China, Vietnam, Cambodia, Thailand, Myanmar", "Lao"),
    ("lt", "Lithuania", "Northern Europe", "Vilnius", "Lithuanian", "euro",
     _B, "Latvia, Belarus, Poland, Russia", "Lithuanian"),
    ("lv", "Latvia", "Northern Europe", "Riga", "Latvian", "euro",
     _B, "Estonia, Lithuania, Russia, Belarus", "Latvian"),
    ("ma", "Morocco", "North Africa", "Rabat", "Arabic, Tamazight", "Moroccan dirham",
     _C, "the Atlantic Ocean, the Mediterranean Sea", "Moroccan"),
    ("mg", "Madagascar", "East Africa", "Antananarivo", "Malagasy, French", "ariary",
     _I, "the Indian Ocean", "Malagasy"),
    ("mu", "Mauritius", "East Africa", "Port Louis", "English, French, Mauritian Creole",
     "Mauritian rupee", _I, "the Indian Ocean", "Mauritian"),
    ("ng", "Nigeria", "West Africa", "Abuja", "English", "naira",
     _B, "Benin, Niger, Chad, Cameroon", "Nigerian"),
    ("nl", "Netherlands", "Western Europe", "Amsterdam", "Dutch", "euro",
     _C, "the North Sea", "Dutch"),
    ("no", "Norway", "Northern Europe", "Oslo", "Norwegian", "Norwegian krone",
     _B, "Sweden, Finland, Russia", "Norwegian"),
    ("pa", "Panama", "Central America", "Panama City", "Spanish", "balboa",
     _B, "Costa Rica, Colombia", "Panamanian"),
    ("pe", "Peru", "South America", "Lima", "Spanish, Quechua, Aymara", "sol",
     _B, "Ecuador, Colombia, Brazil, Bolivia, Chile", "Peruvian"),
    ("pl", "Poland", "Central Europe", "Warsaw", "Polish", "zloty",
     _C, "the Baltic Sea", "Polish"),
    ("pw", "Palau", "Oceania", "Ngerulmud", "Palauan, English", "US dollar",
     _I, "the Pacific Ocean", "Palauan"),
    ("se", "Sweden", "Northern Europe", "Stockholm", "Swedish", "Swedish krona",
     _B, "Norway, Finland", "Swedish"),
    ("so", "Somalia", "East Africa", "Mogadishu", "Somali, Arabic", "Somali shilling",
     _B, "Djibouti, Ethiopia, Kenya", "Somali"),
    ("th", "Thailand", "Southeast Asia", "Bangkok", "Thai", "baht",
     _B, "Myanmar, Laos, Cambodia, Malaysia", "Thai"),
    ("tr", "Turkey", "Western Asia", "Ankara", "Turkish", "Turkish lira",
     _C, "the Black Sea, the Aegean Sea, the Mediterranean Sea", "Turkish"),
    ("ua", "Ukraine", "Eastern Europe", "Kyiv", "Ukrainian", "hryvnia",
     _C, "the Black Sea, the Sea of Azov", "Ukrainian"),
    ("vn", "Vietnam", "Southeast Asia", "Hanoi", "Vietnamese", "dong",
     _B, "China, Laos, Cambodia", "Vietnamese"),
)  # fmt: skip

_DEFINITE: Final = frozenset({"ae", "bs", "nl"})

#: All countries in the order of their codes: the order of the classifier's labels.
COUNTRIES: Final = tuple(
    Country(*row[:8], f".{row[0]}", row[8], definite=row[0] in _DEFINITE) for row in _ROWS
)
