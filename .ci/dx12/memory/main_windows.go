// Memory tells what D3D12 takes under Wine without any code of clip-wgpu: it opens devices of the WebGPU binding, one
// after the other, with all that the adapter allows, releases each, and prints what the process holds in memory. For Windows, run by .ci/dx12/wine:
//
//	GOOS=windows CGO_ENABLED=1 CC=x86_64-w64-mingw32-gcc go build -o build/dx12/memory.exe ./.ci/dx12/memory
//	VKD3D_CONFIG= .ci/dx12/wine build/dx12 build/dx12/memory.exe
//	.ci/dx12/wine build/dx12 build/dx12/memory.exe
package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"github.com/rajveermalviya/go-webgpu/wgpu"
)

func main() {
	report("at the start")
	for n := 1; n <= 2; n++ {
		instance := wgpu.CreateInstance(&wgpu.InstanceDescriptor{Backends: wgpu.InstanceBackend_DX12, Dx12ShaderCompiler: wgpu.Dx12Compiler_Fxc})
		adapter, err := instance.RequestAdapter(&wgpu.RequestAdapterOptions{})
		check(err)
		limits := adapter.GetLimits().Limits
		limits.MaxBufferSize = min(limits.MaxBufferSize, 1<<62)
		device, err := adapter.RequestDevice(&wgpu.DeviceDescriptor{RequiredLimits: &wgpu.RequiredLimits{Limits: limits}})
		check(err)
		report(fmt.Sprintf("with device %d", n))
		device.Release()
		adapter.Release()
		instance.Release()
		report(fmt.Sprintf("without device %d", n))
	}
}

// report prints the process's working set, which Wine reads from Linux.
func report(when string) {
	process, err := syscall.GetCurrentProcess()
	check(err)
	counters := struct { // PROCESS_MEMORY_COUNTERS
		size, faults uint32
		bytes        [8]uintptr // the peak of the working set and the set come first
	}{}
	counters.size = uint32(unsafe.Sizeof(counters))
	info := syscall.NewLazyDLL("psapi.dll").NewProc("GetProcessMemoryInfo")
	if ok, _, err := info.Call(uintptr(process), uintptr(unsafe.Pointer(&counters)), uintptr(counters.size)); ok == 0 {
		check(err)
	}
	fmt.Printf("%s: %d MiB\n", when, counters.bytes[1]>>20)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
