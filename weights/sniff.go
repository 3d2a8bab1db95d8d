package weights

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// sniffLen is how much of a file's start tells its format.
const sniffLen = 1024

// signatures are the first bytes of files that people take for safetensors.
var signatures = []struct {
	magic string
	kind  error
	is    string
}{
	{"\x93NUMPY", ErrUnsupportedFormat, "a single NumPy array, which is not supported: an .npz archive or safetensors expected"},
	{"\x89HDF\r\n", ErrUnsupportedFormat, "an HDF5 file, which is not supported: convert it to safetensors"},
	{"GGUF", ErrUnsupportedFormat, "a GGUF file, which is not supported: get the safetensors file"},
	{"\x1f\x8b", ErrNotWeights, "a gzip archive: unpack it first"},
}

// isZip and isPickle tell what PyTorch writes, and numpy.savez, which is a zip archive too.
func isZip(head []byte) bool {
	return bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06"))
}

func isPickle(head []byte) bool {
	return len(head) >= 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5
}

// isSafetensors tells by a plausible header. It goes before signatures: a
// header of 640 bytes makes a file begin like a pickle, with 80 02.
func isSafetensors(head []byte) bool {
	return len(head) > prefixLen && le.Uint64(head) <= maxHeader && head[prefixLen] == '{'
}

// isJSON tells whether the text could be a sharded index.
func isJSON(head []byte) bool {
	return isText(head) && bytes.HasPrefix(bytes.TrimSpace(head), []byte("{"))
}

// recognise returns an error that says what a file is when its start shows
// that it is something else than weights, and nil when it does not.
func recognise(head []byte) error {
	if isSafetensors(head) || isZip(head) || isPickle(head) {
		return nil
	}
	for _, s := range signatures {
		if bytes.HasPrefix(head, []byte(s.magic)) {
			return fail(s.kind, "", "is %s", s.is)
		}
	}
	// Web pages are text in encodings of all kinds.
	text := bytes.ToLower(bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\ufeff"))))
	switch {
	case bytes.HasPrefix(text, []byte("version https://git-lfs")):
		return fail(ErrNotWeights, "", "is a git-LFS pointer, not the weights it stands for: fetch them with git lfs pull")
	case bytes.HasPrefix(text, []byte("<!doctype html")), bytes.HasPrefix(text, []byte("<html")):
		return fail(ErrNotWeights, "", "is an HTML page, not weights: the download was answered by a web page")
	case len(head) >= prefixLen && isText(head):
		return fail(ErrNotWeights, "", "is text, not weights: it begins with %s", quote(string(head[:min(len(head), 40)])))
	}
	return nil
}

// isText reports whether a file's start is UTF-8 without control characters.
func isText(head []byte) bool {
	for len(head) > 0 {
		r, size := utf8.DecodeRune(head)
		if r == utf8.RuneError && size == 1 {
			return !utf8.FullRune(head) // a character cut by the sniffed length
		}
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return false
		}
		head = head[size:]
	}
	return true
}
