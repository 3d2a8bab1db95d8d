package gpu

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

func TestCompiler(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the files of this test are no libraries")
	}
	dir := t.TempDir()
	choose := func(want, name string) {
		got, err := compilerIn(dir, want)
		require.NoError(t, err)
		assert.Equal(t, name, got.name, want)
	}
	choose("", FXC)
	choose(FXC, FXC)
	_, err := compilerIn(dir, DXC)
	assert.ErrorContains(t, err, "DX12 compiler dxc: want dxcompiler.dll beside the program")

	for _, file := range []string{"dxcompiler.dll", "dxil.dll"} {
		choose("", FXC) // both are needed
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), nil, 0o600))
	}
	choose("", DXC)
	choose(DXC, DXC)
	choose(FXC, FXC)

	_, err = Open(Options{DX12Compiler: "glslang"})
	assert.EqualError(t, err, `no DX12 compiler "glslang", there are fxc and dxc`)
	t.Setenv(debug.Variable, "dx12=dxc")
	_, err = Adapters()
	assert.ErrorContains(t, err, "want dxcompiler.dll beside the program")
}
