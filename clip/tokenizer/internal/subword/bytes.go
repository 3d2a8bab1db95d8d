package subword

// ByteAlphabet has a visible character for every byte, as GPT-2 and CLIP do:
// itself for the printable ones of Latin-1, characters from U+0100 on for the
// others. AlphabetBytes maps back.
var ByteAlphabet, AlphabetBytes = func() (alphabet [256]rune, bytes map[rune]byte) {
	bytes = make(map[rune]byte, 256)
	spare := rune(0x100)
	for b := range alphabet {
		alphabet[b] = rune(b)
		if b <= ' ' || 0x7F <= b && b <= 0xA0 || b == 0xAD {
			alphabet[b] = spare
			spare++
		}
		bytes[alphabet[b]] = byte(b)
	}
	return alphabet, bytes
}()
