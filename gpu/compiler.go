package gpu

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

// Microsoft's compilers, which make the kernels on DX12. The library reads only
// their names.
const (
	FXC = "fxc" // d3dcompiler_47.dll, a part of Windows
	DXC = "dxc" // dxcompiler.dll and dxil.dll, which come with a program
)

// compiler says which of Microsoft's compilers an instance takes, and from which folder.
type compiler struct{ name, dir string }

// chooseCompiler is what CLIPWGPU or else want asks for, or else DXC where it lies
// beside the program. Only Windows has either.
func chooseCompiler(want string) (compiler, error) {
	asked, err := debug.Get()
	if err != nil {
		return compiler{}, err
	}
	if asked.DX12 != "" {
		want = asked.DX12
	}
	program, err := os.Executable()
	if err != nil {
		return compiler{name: FXC}, nil // which needs no folder
	}
	return compilerIn(filepath.Dir(program), want)
}

func compilerIn(dir, want string) (compiler, error) {
	dxc := compiler{DXC, dir}
	switch want {
	case FXC:
		return compiler{name: FXC}, nil
	case DXC:
		for _, file := range dxc.files() {
			if err := loads(file); err != nil {
				return compiler{}, fmt.Errorf("DX12 compiler %s: want %s beside the program: %w", want, filepath.Base(file), err)
			}
		}
		return dxc, nil
	case "":
		if found, err := compilerIn(dir, DXC); err == nil {
			return found, nil
		}
		return compiler{name: FXC}, nil
	}
	return compiler{}, fmt.Errorf("no DX12 compiler %q, there are %s and %s", want, FXC, DXC)
}

// files are what DXC consists of; the second signs what the first makes.
func (c compiler) files() [2]string {
	return [2]string{filepath.Join(c.dir, "dxcompiler.dll"), filepath.Join(c.dir, "dxil.dll")}
}

// instance makes the library's entry with the compiler.
func (c compiler) instance() *wgpu.Instance {
	d := &wgpu.InstanceDescriptor{Backends: backends, Dx12ShaderCompiler: wgpu.Dx12Compiler_Fxc}
	if c.name == DXC {
		files := c.files()
		d.Dx12ShaderCompiler, d.DxcPath, d.DxilPath = wgpu.Dx12Compiler_Dxc, files[0], files[1]
	}
	return wgpu.CreateInstance(d)
}
