package weights

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

func unpickle(raw string, torchScript bool) (any, error) {
	p := newPickle([]byte(raw))
	p.torchScript = torchScript
	return p.load()
}

func TestPickleMakesPlainValues(t *testing.T) {
	for raw, want := range map[string]any{
		"\x80\x02N.":         nil,
		"\x88.":              true,
		"\x89.":              false,
		"K\xff.":             int64(255),
		"M\xff\xff.":         int64(65535),
		"J\xff\xff\xff\xff.": int64(-1),
		"\x8a\x00.":          int64(0),
		"\x8a\x01\xff.":      int64(-1),
		"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.":     int64(1<<63 - 1),
		"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00.": long("\x00\x00\x00\x00\x00\x00\x00\x80\x00"),
		"G?\xf8\x00\x00\x00\x00\x00\x00.":               1.5,
		"X\x02\x00\x00\x00\xc3\xa9.":                    text("é"),
		"U\x01a.":                                       text("a"),
		").":                                            tuple(nil),
		"\x8f.":                                         set{},
		"K\x01\x85.":                                    tuple{int64(1)},
		"K\x01K\x02\x86.":                               tuple{int64(1), int64(2)},
		"K\x01K\x02K\x03\x87.":                          tuple{int64(1), int64(2), int64(3)},
		"(K\x01NK\x02t.":                                tuple{int64(1), nil, int64(2)},
		"]K\x01a(K\x02K\x03e.":                          &list{[]any{int64(1), int64(2), int64(3)}},
		"}U\x01aK\x01s(U\x01bNu.":                       &dict{[]any{text("a"), text("b")}, []any{int64(1), nil}},
		"K\x07q\x01h\x01r\x00\x01\x00\x00j\x00\x01\x00\x00\x87.": tuple{int64(7), int64(7), int64(7)},
		"ctorch\nfloat32\n.":                                 global("torch.float32"),
		"ctorch.cuda.sparse\nHalfTensor\n.":                  global("torch.cuda.sparse.HalfTensor"),
		"ctorch\nSize\nK\x01K\x02\x86\x85R.":                 tuple{int64(1), int64(2)},
		"c__builtin__\nset\n]K\x01a\x85R.":                   inert("builtins.set"),
		"cnumpy\ndtype\nU\x02f8\x85R(K\x03NNtb.":             inert("numpy.dtype"),
		"ccollections\nCounter\n}\x85RU\x01aK\x01s.":         &dict{[]any{text("a")}, []any{int64(1)}},
		"X\x05\x00\x00\x00a\xed\xb3\xbfb.":                   text("a\ufffdb"), // what Python makes of a file named a\xffb
		"ccollections\nOrderedDict\n)R}U\x09_metadata}sb.":   &dict{},
		"ccollections\nOrderedDict\n](](U\x01aK\x01ee\x85R.": &dict{[]any{text("a")}, []any{int64(1)}},
	} {
		got, err := unpickle(raw, false)
		require.NoError(t, err, "%q", raw)
		assert.Equal(t, want, got, "%q", raw)
	}
}

// Every opcode of every protocol that is not on the list.
func TestPickleRefusesOtherOpcodes(t *testing.T) {
	const allowed = "\x80}])\x8f(\x85\x86\x87tXUJKM\x8aGN\x88\x89qrhjsuaeQcRb\x81."
	refused := 0
	for code := range 256 {
		if strings.IndexByte(allowed, byte(code)) >= 0 {
			continue
		}
		_, err := unpickle("\x80\x02(N"+string([]byte{byte(code)})+"aaaa\naaaa\n.", true)
		require.ErrorIs(t, err, ErrForbidden, "0x%02x", code)
		require.ErrorContains(t, err, fmt.Sprintf("opcode %s at byte 4", opcodeName(byte(code))))
		refused++
	}
	assert.Equal(t, 256-len(allowed), refused)
	for name, code := range map[string]byte{"STACK_GLOBAL": 0x93, "INST": 'i', "OBJ": 'o', "NEWOBJ_EX": 0x92, "EXT1": 0x82, "DUP": '2', "POP": '0'} {
		_, err := unpickle(string([]byte{code}), false)
		require.ErrorContains(t, err, "opcode "+name+" at byte 0")
	}
}

func TestPickleRefusesOtherGlobals(t *testing.T) {
	proof := filepath.Join(t.TempDir(), "ran")
	for _, g := range []string{
		"os system", "posix system", "nt system", "builtins eval", "__builtin__ exec", "builtins getattr", "subprocess Popen",
		"torch load", "torch.storage _load_from_bytes", "torch._utils _rebuild_nested_tensor", "torch._utils _rebuild_xla_tensor",
		"torch.nn.parameter UninitializedParameter", "torch FloatStorage2", "torch.cuda QInt9Storage", "torch.storage _UntypedStorage",
		"numpy.core.multiarray frombuffer", "numpy load", "numpy dtype.newbyteorder", "_codecs decode", "copyreg _reconstructor", "collections defaultdict",
		"builtins frozenset", "builtins set.__class__", "torch.sparse SparseTensor", "sparse FloatTensor",
		"collections OrderedDict.__class__", "open_clip.model CLIP", "torch.nn.modules.linear Linear", "__main__ Model",
		"__torch__x Model", "x.__torch__ Model", "argparse Namespace", "torch FloatStorage.__new__", "torch float33",
	} {
		module, name, _ := strings.Cut(g, " ")
		for _, suffix := range []string{".", "X\x04\x00\x00\x00true\x85R.", ")\x81."} {
			_, err := unpickle("\x80\x02c"+module+"\n"+name+"\n"+suffix, true)
			require.ErrorIs(t, err, ErrForbidden, g)
			require.ErrorContains(t, err, module+"."+name)
			require.NotContains(t, err.Error(), "convert", g)
		}
	}
	raw := storedPickle(fmt.Sprintf("\x80\x02cos\nsystem\nX%s%s\x85R.", le.AppendUint32(nil, uint32(len("touch "+proof))), "touch "+proof))
	_, err := Parse("evil.pt", raw)
	requireFileError(t, err, "evil.pt", ErrForbidden, "os.system", "neither imported nor called")
	_, err = os.Stat(proof)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = unpickle("c__torch__\nModel\n)\x81.", false)
	require.ErrorIs(t, err, ErrForbidden, "TorchScript's names are for its archives")
	_, err = unpickle("c\n"+strings.Repeat("a", 1000)+"\x1b[31m\n.", false)
	require.ErrorIs(t, err, ErrForbidden)
	assert.Less(t, len(err.Error()), 400)
	assert.NotContains(t, err.Error(), "\x1b")
}

// Nothing but the rebuild functions and OrderedDict can be the callable of REDUCE.
func TestPickleCallsNothing(t *testing.T) {
	for _, callable := range []string{
		"ctorch\nFloatStorage\n", "ctorch\nSize\n", "ctorch\nfloat32\n", "c__torch__.a\nB\n", "c__torch__.a\nB\n)\x81", "U\x01a", "K\x01", "N", "}", "]", ")", "\x8f",
	} {
		for _, call := range []string{"K\x01\x85R.", ")\x81."} {
			if callable+call == "c__torch__.a\nB\n)\x81." {
				continue
			}
			_, err := unpickle(callable+call, true)
			require.ErrorIs(t, err, ErrForbidden, "%q", callable+call)
		}
	}
	for _, object := range []string{"N", "K\x01", "U\x01a", ")", "]", "ctorch\nfloat32\n", "c__torch__.a\nB\n"} {
		_, err := unpickle(object+"}b.", true)
		require.ErrorIs(t, err, ErrForbidden, "BUILD of %q", object)
	}
	_, err := unpickle("U\x06module"+"c__torch__\nA\n\x86Q.", true)
	require.ErrorIs(t, err, ErrForbidden)
	require.ErrorContains(t, err, "convert")
}

// A pickle cannot make the machine walk over the same long chain again and again.
func TestPickleTimeIsBounded(t *testing.T) {
	const tensor = "ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x08tQK\x00))\x89N"
	nested := "ctorch._tensor\n_rebuild_from_type_v2\nq\x01(ccollections\nCounter\nN)Ntq\x00" + strings.Repeat("(h\x01Nh\x00Ntq\x00", 100_000) + "(" + strings.Repeat("h\x01h\x00R", 100_000) + "t."
	metadata := "}q\x00(" + strings.Repeat("NN", 300_000) + "u(" + strings.Repeat(tensor+"h\x00tR", 10_000) + "t."
	for raw, says := range map[string]string{nested: "calls torch._tensor._rebuild_from_type_v2", metadata: "metadata of 300000 keys"} {
		start := time.Now()
		_, err := unpickle(raw, false)
		require.ErrorContains(t, err, says)
		assert.Less(t, time.Since(start), 10*time.Second)
	}
}

func TestPickleRefusesNonsense(t *testing.T) {
	for _, c := range []struct{ raw, says string }{
		{"", "cut short"},
		{"\x80", "cut short"},
		{"\x80\x06.", "protocol 6"},
		{".", "on the stack"},
		{"(.", "on the stack"},
		{"N(.", "on the stack"},
		{"t.", "no mark"},
		{"u.", "no mark"},
		{"e.", "no mark"},
		{"\x85.", "on the stack"},
		{"K\x01\x87.", "3 objects wanted, 1"},
		{"N(\x85.", "1 objects wanted, 0"},
		{"X\xff\xff\xff\xffa.", "4294967295 bytes more"},
		{"U\x05a.", "5 bytes more"},
		{"U\x01\xff.", "UTF-8"},
		{"\x8a\x05a.", "5 bytes more"},
		{"Ga.", "8 bytes more"},
		{"q\x00.", "nothing on the stack"},
		{"N(q\x00.", "nothing on the stack"},
		{"h\x00.", "memo 0 was never set"},
		{"j\x00\x00\x00\x01.", "memo 16777216 was never set"},
		{"NNNs.", "a dict expected"},
		{"}(Nu.", "a key without a value"},
		{"NNa.", "a list expected"},
		{"(Na.", "nothing on the stack"},
		{"Nb.", "nothing on the stack"},
		{"(NR.", "2 objects wanted"},
		{"ccollections\nOrderedDict\nNR.", "a tuple expected"},
		{"ccollections\nOrderedDict\nK\x01\x85R.", "a list of pairs"},
		{"ccollections\nOrderedDict\n]Na\x85R.", "a list of pairs"},
		{"ctorch._utils\n_rebuild_tensor_v2\n)R.", "6 or 7 arguments, 0"},
		{"ctorch._utils\n_rebuild_tensor_v2\n(NNNNNNtR.", "wants a storage"},
		{"ctorch._utils\n_rebuild_parameter\n(NNNtR.", "wants a tensor"},
		{"ctorch._utils\n_rebuild_tensor\n(NNNNNtR.", "4 arguments, 5 given"},
		{"ctorch._utils\n_rebuild_tensor_v3\n(NNNNNNNtR.", "wants a storage"},
		{"ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n(NNNNtR.", "wants a tensor"},
		{"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nN)NtR.", "6 or 7 arguments, 0"},
		{"X\x03\x00\x00\x00\xed\x9f\x7f.", "UTF-8"},
		{"NQ.", "persistent id"},
		{"U\x07storage\x85Q.", "persistent id"},
		{"(U\x07storageNU\x010U\x03cpuK\x08tQ.", "has None"},
		{"(U\x07storagectorch\nfloat32\nU\x010U\x03cpuK\x08tQ.", "has torch.float32"},
		{"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuNtQ.", "and None"},
		{"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x08U\x01vtQ.", "a view"},
		{"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x08U\x01vK\x06K\x03\x87tQ.", "past the end"},
		{"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x08tQ(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQ.", "8 of F32 before"},
		{"cos.", "without an end"},
	} {
		_, err := unpickle(c.raw, false)
		var fileErr *FileError
		require.ErrorAs(t, err, &fileErr, "%q", c.raw)
		assert.ErrorContains(t, err, c.says, "%q", c.raw)
		assert.True(t, errors.Is(err, ErrMalformed) || errors.Is(err, ErrTruncated), "%q: %v", c.raw, err)
		assert.NotContains(t, err.Error(), "\n")
	}
}

// What a pickle of the largest size can make the machine hold is bounded.
func TestPickleMemoryIsBounded(t *testing.T) {
	repeat := func(n int, s string) string { return strings.Repeat(s, n/len(s)) }
	memo := func() string {
		var b strings.Builder
		b.WriteByte('N')
		for i := range maxPickled + 1 {
			b.WriteByte('r')
			b.Write(le.AppendUint32(nil, uint32(i)))
		}
		return b.String()
	}
	for _, c := range []struct{ name, raw, says string }{
		{"stack", repeat(maxPickle, "N"), "1000000 objects on the stack"},
		{"marks", repeat(maxPickle, "("), "1000000 marks"},
		{"nested tuples", ")" + repeat(maxPickle, "\x85"), "1000000 containers"},
		{"nested lists", "]" + repeat(maxPickle, "]a"), ""},
		{"dicts", "](" + repeat(maxPickle, "}"), "1000000"},
		{"objects in a list", "]" + repeat(maxPickle, "(J\x00\x01\x00\x00K\x01e"), "2000000 objects"},
		{"tuples of all of the stack", repeat(maxPickled-10, "N") + repeat(1000, "(NNNNNNt"), ""},
		{"memo", memo(), "1000000 objects in the memo"},
		{"memo bomb", "]q\x00" + repeat(maxPickle, "(h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00lq\x00"), ""},
		{"lists of lists", "]q\x00" + repeat(maxPickle, "](h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00eq\x00"), "2000000 objects"},
		{"storages", storages(2 * maxPickled), "2000000 objects"},
	} {
		t.Run(c.name, func(t *testing.T) {
			debug.FreeOSMemory()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := unpickle(c.raw, false)
			runtime.ReadMemStats(&after)
			require.Error(t, err)
			assert.ErrorContains(t, err, c.says)
			grown := int64(after.HeapSys-after.HeapReleased) - int64(before.HeapSys-before.HeapReleased)
			assert.Less(t, grown, int64(200<<20+len(c.raw)))
		})
	}
}

// storages pickles n persistent ids of different storages.
func storages(n int) string {
	var b strings.Builder
	b.WriteString("ctorch\nFloatStorage\nq\x00U\x07storageq\x01U\x03cpuq\x02](")
	for i := range n {
		fmt.Fprintf(&b, "(h\x01h\x00U\x07%07dh\x02K\x01tQ", i)
		if b.Len() > maxPickle {
			break
		}
	}
	return b.String()
}

// A module that holds itself, and one that a chain of others reaches in 2^900 ways.
func TestTorchScriptModulesAreBounded(t *testing.T) {
	cycle := "c__torch__\nM\n)\x81q\x00}U\x01ah\x00sb."
	twice := "c__torch__\nM\nq\x01)\x81q\x00}b"
	for range 900 {
		twice += "h\x01)\x81}(U\x01ah\x00U\x01bh\x00ubq\x00"
	}
	for raw, says := range map[string]string{cycle: "nest deeper than 1000", twice + ".": "more than 1000000 attributes"} {
		object, err := unpickle(raw, true)
		require.NoError(t, err)
		_, _, err = stateDict(object, 1<<20)
		require.ErrorIs(t, err, ErrMalformed)
		assert.ErrorContains(t, err, says)
	}
}

// A parser's panic is the error of the file that it was given.
func TestPanicsBecomeErrorsOfTheFile(t *testing.T) {
	none := opcodes['N']
	defer func() { opcodes['N'] = none }()
	opcodes['N'] = func(p *pickle) error { return []error{}[len(p.stack)] }
	raw := storedPickle("\x80\x02N.")
	path := filepath.Join(t.TempDir(), "model.pt")
	require.NoError(t, os.WriteFile(path, raw, 0o666))
	for _, open := range []func() (*File, error){func() (*File, error) { return Open(path) }, func() (*File, error) { return Parse(path, raw) }} {
		f, err := open()
		require.Nil(t, f)
		var caught *guard.PanicError
		require.ErrorAs(t, err, &caught)
		requireFileError(t, err, path, caught, "internal error", "index out of range", "pickle_test.go")
	}
}
