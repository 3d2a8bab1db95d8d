package main

import (
	"encoding/csv"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func readCSV(t *testing.T, text string) [][]string {
	t.Helper()
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	require.NoError(t, err)
	return records
}

func readTSV(t *testing.T, text string) (records [][]string) {
	t.Helper()
	require.True(t, strings.HasSuffix(text, "\n"))
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		for i, f := range fields {
			fields[i] = strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n", `\r`, "\r").Replace(f)
		}
		records = append(records, fields)
	}
	return records
}

// readRecords reads a matrix of records.
func readRecords(read func(*testing.T, string) [][]string) func(*testing.T, string) matrix {
	return func(t *testing.T, path string) matrix {
		t.Helper()
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return matrixOf(t, read(t, string(data)))
	}
}

func matrixOf(t *testing.T, records [][]string) (m matrix) {
	t.Helper()
	require.Equal(t, []string{"kind", "id", "e0", "e1"}, records[0][:4])
	for _, fields := range records[1:] {
		require.Len(t, fields, len(records[0]))
		m.ids = append(m.ids, rowID{fields[0], rawText(fields[1])})
		row := make([]float32, len(fields)-2)
		for i, f := range fields[2:] {
			v, err := strconv.ParseFloat(f, 32)
			require.NoError(t, err)
			row[i] = float32(v)
		}
		m.rows = append(m.rows, row)
	}
	return m
}

func TestRecordsKeepEveryText(t *testing.T) {
	texts := []string{"", "a", " a ", `say "x", twice`, "two\nlines\r\n", "tab\there", `back\slash\t`, "caf\xe9\xff", "\ufeffmark", "'=1+1"}
	for name, f := range map[string]struct {
		write recordWriter
		read  func(*testing.T, string) [][]string
	}{"csv": {writeCSV, readCSV}, "tsv": {writeTSV, readTSV}} {
		var b strings.Builder
		var want [][]string
		for _, text := range texts {
			want = append(want, []string{"id", text})
		}
		require.NoError(t, f.write(&b, want...))
		if name == "csv" { // Go's reader makes LF of CR LF, others do not
			assert.Contains(t, b.String(), "\"two\nlines\r\n\"")
			want[4][1] = "two\nlines\n"
		}
		assert.Equal(t, want, f.read(t, b.String()), name)
	}
}
