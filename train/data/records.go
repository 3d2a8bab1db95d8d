package data

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// records reads the records of a table as pandas.read_csv does, which open_clip_train
// takes: quotes stand around a field only where it begins with one, "" between them is one
// quote, and what follows the closing one belongs to the field. Blank lines are left out.
type records struct {
	in        *bufio.Reader
	separator string
	first     int // line of the last record, from 1
	line      int // that was read last
}

// next gives the fields of the next record. The error is io.EOF behind the last one.
func (r *records) next() (fields []string, err error) {
	line, err := r.readLine()
	for err == nil && line == "" {
		line, err = r.readLine()
	}
	if err != nil {
		return nil, err
	}
	r.first = r.line
	var field []byte
	quoted, begins, length := false, true, 0
	for {
		for i := 0; i < len(line); {
			rest, taken := line[i:], 1
			switch {
			case quoted && strings.HasPrefix(rest, `""`):
				field, taken = append(field, '"'), 2
			case quoted && rest[0] == '"':
				quoted = false
			case !quoted && strings.HasPrefix(rest, r.separator):
				fields, field, begins = append(fields, string(field)), nil, true
				i += len(r.separator)
				continue
			case begins && rest[0] == '"':
				quoted = true
			default:
				field = append(field, rest[0])
			}
			i += taken
			begins = false
		}
		if !quoted {
			return append(fields, string(field)), nil
		}
		length += len(line)
		if line, err = r.readLine(); err == io.EOF || length > maxLine {
			return nil, fmt.Errorf("%w: quotes that begin in the record at line %d are not closed", ErrData, r.first)
		} else if err != nil {
			return nil, err
		}
		field = append(field, '\n')
	}
}

// readLine gives a line without its end.
func (r *records) readLine() (string, error) {
	line, err := r.in.ReadSlice('\n')
	switch {
	case err == io.EOF && len(line) > 0:
	case err == bufio.ErrBufferFull:
		return "", fmt.Errorf("%w: line %d has more than %d bytes", ErrData, r.line+1, maxLine)
	case err != nil:
		return "", err
	}
	r.line++
	return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
}
