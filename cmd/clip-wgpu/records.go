package main

import (
	"encoding/csv"
	"io"
	"strings"
)

// recordsHelp documents recordWriters and rawText.
const recordsHelp = `CSV quotes fields as RFC 4180 says, and its lines end in LF. TSV writes a tab, line
feed, carriage return or backslash in a field as \t, \n, \r or \\. In both, names
of files that are not UTF-8 keep their bytes. JSON writes such a byte 0xNN as
\udcNN, as Python's os.fsdecode does; os.fsencode turns it back.`

// recordWriter writes records in one call of w.
type recordWriter func(w io.Writer, records ...[]string) error

func writeCSV(w io.Writer, records ...[]string) error {
	var b strings.Builder
	if err := csv.NewWriter(&b).WriteAll(records); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var escapeTSV = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

func writeTSV(w io.Writer, records ...[]string) error {
	var b strings.Builder
	for _, fields := range records {
		for i, field := range fields {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(escapeTSV.Replace(field))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
