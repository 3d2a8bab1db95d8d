package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// readLinesOf reads a file's lines; "-" is stdin. An error is an *inputError.
func readLinesOf(ctx context.Context, path string, stdin io.Reader) ([]string, error) {
	name, read := path, readFileLines
	if path == "-" {
		name, read = "stdin", func(string) ([]string, error) { return readLines(stdin) }
	}
	lines, err := interruptible(ctx, func() ([]string, error) { return read(path) })
	if err != nil {
		return nil, &inputError{name, err}
	}
	return lines, nil
}

func readFileLines(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a FIFO would wait for its writer
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLines(f)
}

// readsStdin counts the names that mean stdin.
func readsStdin(names ...[]string) int {
	n := 0
	for _, name := range slices.Concat(names...) {
		if name == "-" {
			n++
		}
	}
	return n
}

// maxLine bounds the bytes of a line.
const maxLine = 16 << 20

// readLines returns lines without their ends, which are LF, CR LF or CR. UTF-16
// with a byte-order mark becomes UTF-8, and UTF-8's own mark is dropped; other
// bytes stay as they are, since paths need not be UTF-8.
func readLines(r io.Reader) ([]string, error) {
	text := bufio.NewReader(r)
	head, _ := text.Peek(4) // the scanner meets the error again
	r, isUTF16 := text, false
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe\x00\x00")), bytes.HasPrefix(head, []byte("\x00\x00\xfe\xff")):
		return nil, errors.New("is UTF-32; " + wantedText)
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		r, isUTF16 = transform.NewReader(text, unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder()), true
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		text.Discard(3) // they have been read
	}
	var lines []string
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	s.Split(splitLines)
	for s.Scan() {
		line := s.Text()
		switch {
		case strings.IndexByte(line, 0) >= 0:
			return nil, fmt.Errorf("line %d has a NUL; %s", len(lines)+1, wantedText)
		case isUTF16 && strings.ContainsRune(line, utf8.RuneError): // what the decoder makes of errors
			return nil, fmt.Errorf("line %d: the UTF-16 is damaged", len(lines)+1)
		}
		lines = append(lines, line)
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d has more than %d bytes", len(lines)+1, maxLine)
	}
	return lines, s.Err()
}

const wantedText = "want lines of UTF-8, or of UTF-16 that begins with a byte-order mark"

// splitLines is a bufio.SplitFunc for the line ends of all systems.
func splitLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	i := bytes.IndexAny(data, "\r\n")
	switch {
	case i < 0 && (!atEOF || len(data) == 0):
		return 0, nil, nil
	case i < 0:
		return len(data), data, nil
	case data[i] == '\r' && i+1 == len(data) && !atEOF: // an LF may follow
		return 0, nil, nil
	case bytes.HasPrefix(data[i:], []byte("\r\n")):
		return i + 2, data[:i], nil
	}
	return i + 1, data[:i], nil
}

// checkText refuses a line of a file that is not text, as a label or a caption.
func checkText(line string) error {
	if !utf8.ValidString(line) {
		return errors.New("is not UTF-8; " + wantedText)
	}
	return nil
}
