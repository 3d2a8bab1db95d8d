// Memory tells what D3D12 takes under Wine without any code of clip-wgpu: it opens a device of the WebGPU binding, runs
// kernels of one line, and prints what the process holds in memory. For Windows, run by .ci/wine:
//
//	GOOS=windows CGO_ENABLED=1 CC=x86_64-w64-mingw32-gcc go build -o $DX12/memory.exe ./gpu/testdata/winememory
//	VKD3D_CONFIG= .ci/wine $DX12/memory.exe
//	.ci/wine $DX12/memory.exe
package main

import (
	"fmt"
	"log"
	"syscall"
	"unsafe"

	"github.com/rajveermalviya/go-webgpu/wgpu"
)

func main() {
	report("at the start")
	instance := wgpu.CreateInstance(&wgpu.InstanceDescriptor{Backends: wgpu.InstanceBackend_DX12})
	adapter := must(instance.RequestAdapter(&wgpu.RequestAdapterOptions{}))
	device := must(adapter.RequestDevice(nil))
	report("with a device")
	buffer := must(device.CreateBuffer(&wgpu.BufferDescriptor{Size: 256, Usage: wgpu.BufferUsage_Storage}))
	for n := range 4 {
		for range 25 {
			run(device, buffer, n)
		}
		report(fmt.Sprintf("after 25 runs of %d kernels", n+1))
	}
	buffer.Release()
	device.Release()
	adapter.Release()
	instance.Release()
	report("without it")
}

// run has a kernel write n and waits for it.
func run(device *wgpu.Device, buffer *wgpu.Buffer, n int) {
	code := fmt.Sprintf("@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1) fn main() { y[0] = %d.0; }", n)
	module := must(device.CreateShaderModule(&wgpu.ShaderModuleDescriptor{WGSLDescriptor: &wgpu.ShaderModuleWGSLDescriptor{Code: code}}))
	pipeline := must(device.CreateComputePipeline(&wgpu.ComputePipelineDescriptor{Compute: wgpu.ProgrammableStageDescriptor{Module: module, EntryPoint: "main"}}))
	layout := pipeline.GetBindGroupLayout(0)
	group := must(device.CreateBindGroup(&wgpu.BindGroupDescriptor{Layout: layout, Entries: []wgpu.BindGroupEntry{{Buffer: buffer, Size: wgpu.WholeSize}}}))
	encoder := must(device.CreateCommandEncoder(nil))
	pass := encoder.BeginComputePass(nil)
	pass.SetPipeline(pipeline)
	pass.SetBindGroup(0, group, nil)
	pass.DispatchWorkgroups(1, 1, 1)
	pass.End()
	commands := must(encoder.Finish(nil))
	device.GetQueue().Submit(commands)
	device.Poll(true, nil)
	for _, object := range []interface{ Release() }{commands, pass, encoder, group, layout, pipeline, module} {
		object.Release()
	}
}

// report prints the process's working set, which Wine reads from Linux.
func report(when string) {
	process := must(syscall.GetCurrentProcess())
	counters := struct { // PROCESS_MEMORY_COUNTERS
		size, faults uint32
		bytes        [8]uintptr // the peak of the working set and the set come first
	}{}
	counters.size = uint32(unsafe.Sizeof(counters))
	info := syscall.NewLazyDLL("psapi.dll").NewProc("GetProcessMemoryInfo")
	if ok, _, err := info.Call(uintptr(process), uintptr(unsafe.Pointer(&counters)), uintptr(counters.size)); ok == 0 {
		log.Fatal(err)
	}
	fmt.Printf("%s: %d MiB\n", when, counters.bytes[1]>>20)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
