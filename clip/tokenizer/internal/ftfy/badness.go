package ftfy

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// The characters that occur in mojibake, by how they are used otherwise. All
// are fragments of regexp character classes.
const (
	common           = "\u00a0\u00ad´·–—―’…"
	c1               = "\u0080-\u009f"
	bad              = "¤¦¨ª¬¯¸ºƒˆˇ˘˛˜†‡‰⌐◊\ufffd" // next to never used on purpose
	law              = "§¶"
	currency         = "¢£¥₧€"
	startPunctuation = "¡©«¿΄΅‘‚“„•‹\uf8ff"
	endPunctuation   = "®»˝”›™"
	numeric          = "±²³µ¹¼½¾×÷⁄№∂∆∏∑√∞∩∫≈≠≡≤≥"
	kaomoji          = "°Ò-ÖÙ-Üò-öø-üŌŐŪŲ" // letters that also draw faces
	upperAccented    = "À-ÑØÜÝĀĂĄĆČĎĐĒĖĘĚĞĢĪİĶĹĻĽŁŃŅŇŒŘŚŞŠŢŤŮŰŸŹŻŽҐ"
	lowerAccented    = "ß-ñüāăąćčďđēėęěğģīįķĺļľłœŕśşšťźżžґﬁﬂ"
	upperCommon      = "ÞΆΈΉΊΌΎΏΑ-ΫЁ-Я"
	lowerCommon      = "ά-ωа-џ"
	box              = "│┌┐┘├┤┬┼═-╬▀▄█▌▐-▓"

	accented    = lowerAccented + upperAccented
	punctuation = startPunctuation + endPunctuation
	latin       = "a-zA-Z"
	space       = `\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}`
	word        = `\p{L}\p{N}_`
)

// badness matches sequences of characters that are likelier to be mojibake than
// to be meant. Every item is a sequence of character classes.
var badness = alternatives(
	sequence(c1),
	sequence(bad+accented+box+punctuation+currency+numeric+law, bad),
	sequence(latin, lowerCommon+upperCommon, bad),
	sequence(bad, accented+box+punctuation+currency+numeric+law),
	sequence(lowerAccented+lowerCommon+box+endPunctuation+currency+numeric, upperAccented),
	sequence(box+endPunctuation+currency+numeric, lowerAccented),
	sequence(lowerAccented+box+endPunctuation, currency),
	sequence(space, upperAccented, currency),
	sequence(upperAccented+box, numeric+law),
	sequence(accented+box+currency+endPunctuation, startPunctuation, numeric),
	sequence(accented+currency+numeric+box+law, endPunctuation, startPunctuation),
	sequence(currency+numeric+box, startPunctuation),
	sequence("a-z", upperAccented, startPunctuation+currency),
	sequence(box, kaomoji),
	sequence(accented+currency+numeric+punctuation+law, box),
	sequence(box, endPunctuation),
	sequence(accented, punctuation, word),
	sequence("Œœ", "^A-Za-z"),
	sequence(upperAccented, "°"),

	// Windows-1252: two-byte sequences; Arabic, where the second characters are
	// so common that two pairs must follow; South Asian scripts.
	sequence("ÂÃÎÐ", "€œŠš¢£Ÿž\u00a0\u00ad®°·»–—´"+punctuation),
	sequence("×", "²³"),
	sequence("ØÙ", arabicSecond, "ØÙ", arabicSecond),
	sequence("à", "²µ¹¼½¾"),

	// MacRoman.
	sequence("√", "±∂†≠®™´≤≥¥µø"),
	sequence("≈", "°¢"),
	sequence("‚", "Ä", "ìîïòôúùû†°¢π"),
	sequence("‚", "âó", "àä°ê"),

	// Windows-1251: U+2000 to U+203F; Latin-1 or Cyrillic letters, three
	// characters of them; the same on top of another layer, near a Latin letter.
	sequence("в", "Ђ"),
	sequence("ВГРС", c1+bad+punctuation+currency+"°µ", "ВГРС"),
	sequence("Г", "ў", "В", "Ђ", "В", `^\n`, latin+" "),

	// Windows-1252 of à, á and the no-break space, perhaps turned into a space.
	sequence("Ã", "\u00a0¡"),
	`[a-z]`+optional(space)+sequence("ÃÂ", " "),
	`\A`+sequence("ÃÂ", " "),
	sequence("a-z.,?!"+endPunctuation, "Â", " "+punctuation),

	// Windows-1253: U+2000 to U+203F; Latin-1 or Greek letters.
	sequence("β", "€", "™\u00a0Ά\u00ad®°"),
	sequence("ΒΓΞΟ", c1+bad+punctuation+currency+"°", "ΒΓΞΟ"),

	// Windows-1257: U+2000 to U+203F.
	sequence("ā", "€"),
)

const arabicSecond = common + currency + bad + numeric + startPunctuation + "ŸŠ®°µ»"

func sequence(classes ...string) string { return "[" + strings.Join(classes, "][") + "]" }

func optional(class string) string { return "[" + class + "]?" }

func alternatives(patterns ...string) *regexp.Regexp {
	return regexp.MustCompile(strings.Join(patterns, "|"))
}

// isBad reports whether text looks as if it contained mojibake.
func isBad(text string) bool {
	return !isASCII(text) && badness.MatchString(text)
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
