package data

import (
	"bufio"
	"bytes"
	"encoding/json"
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

// maxLine is the longest line of a table, in bytes.
const maxLine = 16 << 20

// openText opens a file as UTF-8: a byte order mark tells of UTF-16.
func openText(path string) (io.Reader, io.Closer, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return transform.NewReader(bufio.NewReaderSize(file, 1<<20), unicode.BOMOverride(transform.Nop)), file, nil
}

// errUTF8 is for lines of other encodings.
var errUTF8 = errors.New("neither UTF-8 nor UTF-16 with a byte order mark")

// addTable reads a table of columns, whose first line names them (CsvDataset of
// open_clip_train/data.py). Lines that do not fit are Bad.
func (d *Dataset) addTable(path string) error {
	text, file, err := openText(path)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(text, maxLine)
	head, err := in.Peek(min(maxLine, 1<<16))
	if len(head) == 0 {
		return fmt.Errorf("%w: %s is empty%s", ErrData, path, reasonOf(err))
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	separator := d.options.Separator
	if separator == 0 {
		separator = d.separator(string(line))
	}
	r := records{in: in, separator: string(separator)}
	columns, err := r.next()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrData, path, err)
	}
	image, captions := column(columns, d.options.ImageKeys), columnsOf(columns, d.options.CaptionKeys)
	switch {
	case image < 0:
		return fmt.Errorf("%w: %s has the columns %q, none of which is the picture's: %q", ErrData, path, columns, d.options.ImageKeys)
	case len(captions) == 0:
		return fmt.Errorf("%w: %s has the columns %q, none of which is a caption: %q", ErrData, path, columns, d.options.CaptionKeys)
	}
	for {
		fields, err := r.next()
		where := fmt.Sprintf("%s:%d", path, r.first)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		case len(fields) != len(columns):
			d.Bad = append(d.Bad, Bad{where, fmt.Errorf("%d columns, want %d", len(fields), len(columns))})
		case !utf8.ValidString(strings.Join(fields, "")):
			d.Bad = append(d.Bad, Bad{where, errUTF8})
		default:
			texts := make([]string, len(captions))
			for i, c := range captions {
				texts[i] = fields[c]
			}
			d.addFile(path, where, fields[image], texts)
		}
	}
}

func reasonOf(err error) string {
	if err == nil || err == io.EOF {
		return ""
	}
	return ": " + err.Error()
}

// separator is the one that leaves the most of a first line's columns known.
func (d *Dataset) separator(line string) rune {
	best, most := '\t', 0
	for _, s := range "\t,;" {
		columns := strings.Split(strings.TrimRight(line, "\r"), string(s))
		for i := range columns {
			columns[i] = strings.Trim(columns[i], `"`)
		}
		known := len(columnsOf(columns, d.options.CaptionKeys))
		if column(columns, d.options.ImageKeys) >= 0 {
			known++
		}
		if known > most {
			best, most = s, known
		}
	}
	return best
}

// column is the index of the first of keys that is there, -1 without one.
func column(columns, keys []string) int {
	for _, key := range keys {
		if i := slices.Index(columns, key); i >= 0 {
			return i
		}
	}
	return -1
}

// columnsOf are those that a key names.
func columnsOf(columns, keys []string) (all []int) {
	for i, c := range columns {
		if slices.Contains(keys, c) {
			all = append(all, i)
		}
	}
	return all
}

// addLines reads a table of JSON objects, one on each line. A caption's field holds a text
// or several.
func (d *Dataset) addLines(path string) error {
	text, file, err := openText(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(text)
	lines.Buffer(make([]byte, 0, 1<<16), maxLine)
	for n := 1; lines.Scan(); n++ {
		where, line := fmt.Sprintf("%s:%d", path, n), bytes.TrimSpace(lines.Bytes())
		var fields map[string]json.RawMessage
		switch {
		case len(line) == 0:
		case !utf8.Valid(line):
			d.Bad = append(d.Bad, Bad{where, errUTF8})
		default:
			if err := json.Unmarshal(line, &fields); err != nil {
				d.Bad = append(d.Bad, Bad{where, err})
				continue
			}
			picture := append(textsOf(fields, d.options.ImageKeys), "")[0]
			d.addFile(path, where, picture, textsOf(fields, d.options.CaptionKeys))
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %s: %w (%d bytes)", ErrData, path, err, maxLine)
	}
	return nil
}

// textsOf are the strings in those fields that keys name, in the order of keys. What is
// neither a string nor a list of strings counts as absent.
func textsOf(fields map[string]json.RawMessage, keys []string) (all []string) {
	for _, key := range keys {
		var one string
		var several []string
		if json.Unmarshal(fields[key], &one) == nil && one != "" {
			all = append(all, one)
		} else if json.Unmarshal(fields[key], &several) == nil {
			all = append(all, several...)
		}
	}
	return all
}
