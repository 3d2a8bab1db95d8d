package weights

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withHeader makes a file of a header text, padded with zeros for data.
func withHeader(header string, data int) []byte {
	raw := le.AppendUint64(nil, uint64(len(header)))
	return append(append(raw, header...), make([]byte, data)...)
}

// withLength makes a file that begins with a header length.
func withLength(n uint64, rest string) []byte {
	return append(le.AppendUint64(nil, n), rest...)
}

const oneTensor = `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`

var badFiles = []struct {
	name string
	raw  []byte
	kind error
	says []string // parts of the error
}{
	{"empty", nil, ErrTruncated, []string{"empty"}},
	{"7 bytes", make([]byte, 7), ErrMalformed, []string{"7 bytes"}},
	{"header length 2^63", withLength(1<<63, oneTensor), ErrMalformed, []string{"9223372036854775808", "100000000"}},
	{"header length -1", withLength(math.MaxUint64, oneTensor), ErrMalformed, []string{"18446744073709551615"}},
	{"header length 2^40", withLength(1<<40, oneTensor), ErrMalformed, []string{"1099511627776"}},
	{"header length over the limit", withLength(100_000_001, oneTensor), ErrMalformed, []string{"100000001"}},
	{"header length over the file", withLength(1000, oneTensor), ErrTruncated, []string{"1008", "62"}},
	{"no header", withLength(0, ""), ErrMalformed, []string{"'{' expected"}},
	{"not UTF-8", withHeader("{\"\xff\":{}}", 0), ErrMalformed, []string{"UTF-8"}},
	{"not JSON", withHeader("{hello", 0), ErrMalformed, []string{"JSON"}},
	{"JSON array", withHeader(`[{"a":1}]`, 0), ErrMalformed, []string{`"["`, "'{' expected"}},
	{"leading space", withHeader(" "+oneTensor, 8), ErrMalformed, []string{"'{' expected"}},
	{"unclosed", withHeader(oneTensor[:len(oneTensor)-1], 8), ErrMalformed, []string{"JSON"}},
	{"trailing comma", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},}`, 8), ErrMalformed, []string{"JSON"}},
	{"two objects", withHeader(oneTensor+"{}", 8), ErrMalformed, []string{"follows"}},
	{"begin after end", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, 8), ErrMalformed, []string{`"a"`, "8", "0"}},
	{"negative offset", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}`, 8), ErrMalformed, []string{`"a"`, "data_offsets", "-8"}},
	{"offset past the end", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,80]}}`, 8), ErrMalformed, []string{`"a"`, "80"}},
	{"offset of 1e2", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e2]}}`, 8), ErrMalformed, []string{`"a"`, "1e2"}},
	{"one offset", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}`, 8), ErrMalformed, []string{`"a"`, "2 numbers"}},
	{"three offsets", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}}`, 8), ErrMalformed, []string{`"a"`, "2 numbers"}},
	{"overlap", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12), ErrMalformed, []string{`"a"`, `"b"`, "overlap"}},
	{"hole", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}`, 16), ErrMalformed, []string{`"b"`, "hole of 4"}},
	{"hole at the start", withHeader(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), ErrMalformed, []string{`"a"`, "hole of 4"}},
	{"trailing bytes", withHeader(oneTensor, 9), ErrMalformed, []string{"1 bytes after", "70", "71"}},
	{"wrong length", withHeader(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,8]}}`, 8), ErrMalformed, []string{`"a"`, "4 bytes", "hold 8"}},
	{"product over 2^64", withHeader(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), ErrMalformed, []string{`"a"`, "overflows"}},
	{"size over 2^64", withHeader(`{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}`, 0), ErrMalformed, []string{`"a"`, "overflows"}},
	{"dimension over 2^63", withHeader(`{"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,0]}}`, 0), ErrMalformed, []string{`"a"`, "9223372036854775808"}},
	{"fractional dimension", withHeader(`{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}`, 8), ErrMalformed, []string{`"a"`, "shape", "2.5"}},
	{"dimension in quotes", withHeader(`{"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}`, 8), ErrMalformed, []string{`"a"`, "shape", `"2"`}},
	{"shape null", withHeader(`{"a":{"dtype":"F32","shape":null,"data_offsets":[0,8]}}`, 8), ErrMalformed, []string{`"a"`, "null"}},
	{"rank 65", withHeader(`{"a":{"dtype":"F32","shape":[1`+strings.Repeat(",1", 64)+`],"data_offsets":[0,4]}}`, 4), ErrMalformed, []string{`"a"`, "more than 64"}},
	{"dtype with a space", withHeader(`{"a":{"dtype":"F32 ","shape":[2],"data_offsets":[0,8]}}`, 8), ErrMalformed, []string{`"a"`, `"F32 "`}},
	{"dtype Q4", withHeader(`{"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}}`, 8), ErrMalformed, []string{`"a"`, `"Q4"`}},
	{"dtype number", withHeader(`{"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}}`, 8), ErrMalformed, []string{`"a"`, "string expected"}},
	{"no dtype", withHeader(`{"a":{"shape":[2],"data_offsets":[0,8]}}`, 8), ErrMalformed, []string{`"a"`, "dtype"}},
	{"unknown key", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]}}`, 8), ErrMalformed, []string{`"a"`, `"strides"`}},
	{"tensor is a number", withHeader(`{"a":1}`, 0), ErrMalformed, []string{`"a"`, "'{' expected"}},
	{"duplicate name", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"\u0061":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}`, 16), ErrMalformed, []string{"duplicate", `"a"`}},
	{"duplicate key", withHeader(`{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}`, 8), ErrMalformed, []string{`"a"`, "duplicate", `"dtype"`}},
	{"metadata number", withHeader(`{"__metadata__":{"step":3}}`, 0), ErrMalformed, []string{"__metadata__", `"step"`, "string expected"}},
	{"metadata nested", withHeader(`{"__metadata__":{"step":{}}}`, 0), ErrMalformed, []string{"__metadata__", `"step"`}},
	{"metadata null", withHeader(`{"__metadata__":null}`, 0), ErrMalformed, []string{"__metadata__", "null"}},
	{"two metadata", withHeader(`{"__metadata__":{},"__metadata__":{}}`, 0), ErrMalformed, []string{"duplicate", "__metadata__"}},
	{"deep nesting", withHeader(`{"a":`+strings.Repeat("[", 100_000), 0), ErrMalformed, []string{`"a"`}},
	{"cut at half", withHeader(`{"a":{"dtype":"F32","shape":[200],"data_offsets":[0,800]}}`, 400), ErrTruncated, []string{"cut short: header says 866 bytes, file has 466"}},
	{"git-LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 605157884\n"), ErrNotWeights, []string{"git-LFS pointer"}},
	{"HTML page", []byte("\n<!DOCTYPE html>\n<html><head><title>404</title>"), ErrNotWeights, []string{"HTML page"}},
	{"HTML page with a byte order mark", []byte("\ufeff<HTML lang=en>"), ErrNotWeights, []string{"HTML page"}},
	{"HTML page in Latin-1", []byte("<html><body>Zugriff nicht m\xf6glich"), ErrNotWeights, []string{"HTML page"}},
	{"text", []byte("Entry not found"), ErrNotWeights, []string{"text", "Entry not found"}},
	{"JSON", []byte(`{"error":"Repository not found"}`), ErrNotWeights, []string{"weight_map"}},
	{"torch zip", []byte("PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl"), ErrTruncated, []string{"cut short", "zip directory", "26 bytes"}},
	{"legacy pickle", []byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."), ErrTruncated, []string{"cut short", "pickle"}},
	{"HDF5", []byte("\x89HDF\r\n\x1a\n\x00\x00"), ErrUnsupportedFormat, []string{"HDF5", "convert it to safetensors"}},
	{"gzip", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), ErrNotWeights, []string{"gzip"}},
}

func TestOpenRefusesBadFiles(t *testing.T) {
	for _, c := range badFiles {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.safetensors")
			require.NoError(t, os.WriteFile(path, c.raw, 0o666))
			f, err := Open(path)
			require.Nil(t, f)
			requireFileError(t, err, path, c.kind, c.says...)
		})
	}
}

// requireFileError checks an error's kind, that it names the file once, and
// that it is one line.
func requireFileError(t *testing.T, err error, path string, kind error, says ...string) {
	t.Helper()
	require.ErrorIs(t, err, kind)
	var fileErr *FileError
	require.ErrorAs(t, err, &fileErr)
	assert.Equal(t, path, fileErr.Path)
	assert.Equal(t, 1, strings.Count(err.Error(), path), err.Error())
	assert.NotContains(t, err.Error(), "\n")
	assert.Less(t, len(err.Error()), len(path)+700)
	reason := strings.Replace(err.Error(), path, "", 1) // a test's folder has its name
	for _, part := range says {
		assert.Contains(t, reason, part)
	}
}

// Every prefix of a good file is cut short, or too short to tell.
func TestOpenRefusesEveryPrefix(t *testing.T) {
	whole := withHeader(oneTensor, 8)
	_, _, err := parse(whole)
	require.NoError(t, err)
	for n := range whole {
		_, _, err := parse(whole[:n])
		require.Error(t, err, "%d bytes", n)
		if n >= prefixLen {
			require.ErrorIs(t, err, ErrTruncated, "%d bytes", n)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	header := `{"b":{"shape":[2,0],"data_offsets":[8,8],"dtype":"F16"},` +
		`"a/é\n":{"dtype":"BOOL","shape":[],"data_offsets":[8,9]},` +
		`"c":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}, "__metadata__" : {"k":"v","":""}}   `
	tensors, metadata, err := parse(withHeader(header, 9))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"k": "v", "": ""}, metadata)
	start := 8 + len(header)
	assert.Equal(t, []Stored{
		{Name: "a/é\n", DType: Bool, Shape: []int{}, begin: start + 8, end: start + 9},
		{Name: "b", DType: F16, Shape: []int{2, 0}, begin: start + 8, end: start + 8},
		{Name: "c", DType: F64, Shape: []int{1}, begin: start, end: start + 8},
	}, tensors)

	tensors, metadata, err = parse(withHeader("{}", 0))
	require.NoError(t, err)
	assert.Empty(t, tensors)
	assert.Nil(t, metadata)
}

// A header of 640 bytes makes a good file begin like a pickle (80 02), one of
// 0x7b bytes like JSON.
func TestOpenTellsSafetensorsFromItsLookalikes(t *testing.T) {
	for _, n := range []int{640, '{'} {
		path := filepath.Join(t.TempDir(), "model.safetensors")
		header := oneTensor + strings.Repeat(" ", n-len(oneTensor))
		require.NoError(t, os.WriteFile(path, withHeader(header, 8), 0o666))
		f, err := Open(path)
		require.NoError(t, err)
		assert.Equal(t, []string{"a"}, f.Names())
		require.NoError(t, f.Close())
	}
}

// What a hostile header makes the parser allocate is bounded, whatever its size.
func TestParseMemoryIsBounded(t *testing.T) {
	tensor := func(name string) string {
		return fmt.Sprintf(`"%s":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, name)
	}
	many := func(n int, item func(name string) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString("," + item(fmt.Sprint(i)))
		}
		return b.String()[1:]
	}
	long := strings.Repeat("1", 40_000_000)
	for _, c := range []struct{ name, header, says string }{
		{"tensors", "{" + many(maxNames+1, tensor) + "}", "more than 131072 names"},
		{"metadata", `{"__metadata__":{` + many(maxNames+1, func(name string) string { return `"` + name + `":""` }) + "}}", "more than 131072 names"},
		{"name", "{" + tensor(long) + "}", "longer than 16777216 bytes"},
		{"number", `{"a":{"shape":[` + long + "]}}", "longer than 16777216 bytes"},
		{"shape", `{"a":{"shape":[1` + strings.Repeat(",1", 20_000_000) + "]}}", "more than 64 numbers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := withHeader(c.header, 0)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := parse(raw)
			runtime.ReadMemStats(&after)
			require.ErrorIs(t, err, ErrMalformed)
			assert.ErrorContains(t, err, c.says)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(300<<20))
		})
	}
}
