package weights

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// element is an element type of PyTorch.
type element struct {
	name  global // such as torch.float32
	dtype DType  // 0 where this package has none
	size  int    // bytes
}

func (e element) String() string {
	if e.dtype == 0 {
		return string(e.name)
	}
	return e.dtype.String()
}

// elements are PyTorch's dtypes by name.
var elements = func() map[global]element {
	all := map[global]element{}
	for name, dtype := range map[global]DType{
		"float32": F32, "float16": F16, "bfloat16": BF16, "float64": F64, "complex64": C64,
		"int64": I64, "int32": I32, "int16": I16, "int8": I8, "uint8": U8, "bool": Bool, "uint16": U16, "uint32": U32, "uint64": U64,
		"float8_e4m3fn": F8E4M3, "float8_e5m2": F8E5M2, "float8_e8m0fnu": F8E8M0,
	} {
		all["torch."+name] = element{"torch." + name, dtype, dtype.Bytes()}
	}
	for size, names := range map[int]string{
		1: "float8_e4m3fnuz float8_e5m2fnuz float4_e2m1fn_x2 quint8 qint8 quint4x2 quint2x4 bits8 bits1x8 bits2x4 bits4x2 " +
			"int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7",
		2: "bits16", 4: "complex32 bcomplex32 qint32", 16: "complex128",
	} {
		for _, name := range strings.Fields(names) {
			all["torch."+global(name)] = element{"torch." + global(name), 0, size}
		}
	}
	return all
}()

// storageTypes are the classes of PyTorch's storages, with their elements.
var storageTypes = map[global]global{
	"torch.FloatStorage": "torch.float32", "torch.HalfStorage": "torch.float16", "torch.BFloat16Storage": "torch.bfloat16",
	"torch.DoubleStorage": "torch.float64", "torch.LongStorage": "torch.int64", "torch.IntStorage": "torch.int32",
	"torch.ShortStorage": "torch.int16", "torch.CharStorage": "torch.int8", "torch.ByteStorage": "torch.uint8", "torch.BoolStorage": "torch.bool",
	"torch.ComplexFloatStorage": "torch.complex64", "torch.ComplexDoubleStorage": "torch.complex128",
	"torch.QUInt8Storage": "torch.quint8", "torch.QInt8Storage": "torch.qint8", "torch.QInt32Storage": "torch.qint32",
	"torch.QUInt4x2Storage": "torch.quint4x2", "torch.QUInt2x4Storage": "torch.quint2x4",
	"torch.storage.UntypedStorage": "torch.uint8",
}

// inertNames may be named and not called.
var inertNames = []global{
	"torch.Tensor", "torch.storage.TypedStorage", "numpy.ndarray",
	"torch.per_tensor_affine", "torch.per_tensor_symmetric", "torch.per_channel_affine", "torch.per_channel_symmetric", "torch.per_channel_affine_float_qparams",
}

// inertCalls are called for values that no tensor depends on. An inert object
// stands for their result.
var inertCalls = []global{
	"_codecs.encode", "builtins.bytes", "builtins.bytearray", "builtins.complex", "builtins.set",
	"torch.device", "torch.serialization._get_layout",
	"numpy.dtype", "numpy.core.multiarray.scalar", "numpy.core.multiarray._reconstruct", "numpy._core.multiarray.scalar", "numpy._core.multiarray._reconstruct",
}

// known are the globals that torch.load reads with weights_only
// (torch/_weights_only_unpickler.py), and those of NumPy that older training
// checkpoints name. Classes of the GPU go by their names for the CPU.
var known = func() map[global]bool {
	all := map[global]bool{}
	for _, g := range slices.Concat(inertNames, inertCalls, madeOfArguments,
		slices.Collect(maps.Keys(elements)), slices.Collect(maps.Keys(storageTypes)), slices.Collect(maps.Keys(rebuilds)), slices.Collect(maps.Keys(unreadTensors))) {
		all[g] = true
	}
	for _, class := range strings.Fields("Float Double Half BFloat16 Long Int Short Char Byte Bool") {
		all["torch."+global(class)+"Tensor"] = true // classes of tensors before there were dtypes
		all["torch.sparse."+global(class)+"Tensor"] = true
	}
	return all
}()

// withoutCUDA is the name of the same class for the CPU.
func withoutCUDA(g global) global {
	return global(strings.Replace(string(g), "torch.cuda.", "torch.", 1))
}

// global takes GLOBAL's two lines. A name is all that is ever made of them.
func (p *pickle) global() error {
	module, err := p.line()
	if err != nil {
		return err
	}
	name, err := p.line()
	if err != nil {
		return err
	}
	g := global(module + "." + name)
	if module == "__builtin__" { // Python 2's name, which protocol 2 writes
		g = global("builtins." + name)
	}
	inScript := p.torchScript && (module == "__torch__" || strings.HasPrefix(module, "__torch__."))
	if !inScript && !known[withoutCUDA(g)] {
		return p.refuseGlobal(module + "." + name)
	}
	return p.push(g)
}

// refuseGlobal tells a pickled module, which people save by mistake, from the rest.
func (p *pickle) refuseGlobal(g string) error {
	if bytes.Contains(p.raw, []byte("_parameters")) && bytes.Contains(p.raw, []byte("_modules")) {
		return fail(ErrForbidden, "", "refused: holds a whole pickled module, of class %s (byte %d), not a state dict; %s", plain(g), p.op, howToConvert)
	}
	return fail(ErrForbidden, "", "refused: its pickle names %s (byte %d), which is neither imported nor called; %s", plain(g), p.op, howToSave)
}

const (
	howToConvert = "convert it where it was made: torch.save(model.state_dict(), FILE), or save_file of safetensors.torch"
	howToSave    = `where it was made, save its tensors alone: torch.save(checkpoint["state_dict"], FILE)`
)

// plain is text out of a file on one line of bounded length, in quotes where it needs them.
func plain(s string) string {
	if q := quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}
