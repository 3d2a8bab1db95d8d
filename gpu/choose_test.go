package gpu

import (
	"testing"

	"github.com/rajveermalviya/go-webgpu/wgpu"
	"github.com/stretchr/testify/assert"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

func TestChoose(t *testing.T) {
	discrete, integrated, software := wgpu.AdapterType_DiscreteGPU.String(), wgpu.AdapterType_IntegratedGPU.String(), wgpu.AdapterType_CPU.String()
	infos := []Info{
		{Name: "llvmpipe (LLVM 19.1.7, 256 bits)", Type: software},
		{Name: "Intel UHD 770", Type: integrated},
		{Name: "NVIDIA RTX 3060 Ti", Type: discrete},
		{Name: "NVIDIA RTX 3060", Type: discrete},
	}
	for want, index := range map[string]int{
		"": 2, "0": 0, "3": 3, " 1": 1, "01": 1, "+1": 1,
		"rtx": 2, "NVIDIA RTX 3060": 3, "nvidia rtx 3060 ti": 2, "intel": 1, "LLVM": 0, "RTX 3060 T": 2, "i": 2, "uhd ": 1,
	} {
		got, err := Choose(infos, want)
		assert.NoError(t, err, want)
		assert.Equal(t, index, got, "%q", want)
	}
	best, err := Choose([]Info{{Name: "AMD", Type: integrated}, {Name: "RTX", Type: discrete, Backend: "D3D12"}, {Name: "RTX", Type: discrete, Backend: "Vulkan"}}, "")
	assert.NoError(t, err)
	assert.Equal(t, 2, best, "Vulkan before DX12")
	const list = "choose from 0: llvmpipe (LLVM 19.1.7, 256 bits), 1: Intel UHD 770, 2: NVIDIA RTX 3060 Ti, 3: NVIDIA RTX 3060"
	for want, shown := range map[string]string{
		"4": "4", "7": "7", "770": "770", "3060": "3060", "19.1": "19.1", "-1": "-1", "1e3": "1e3", "1.0": "1.0",
		"99999999999999999999": "99999999999999999999", "1e999": "1e999",
		" ": `" "`, "\t": `"\t"`, "voodoo": `"voodoo"`,
	} {
		_, err := Choose(infos, want)
		assert.EqualError(t, err, "no adapter "+shown+", "+list, want)
	}
}

// Kernels are chosen by the adapter's type. What WebGPU cannot tell counts as a discrete GPU.
func TestTargetHasTheAdapter(t *testing.T) {
	for kind, want := range map[wgpu.AdapterType]graph.Adapter{
		wgpu.AdapterType_DiscreteGPU: graph.Discrete, wgpu.AdapterType_IntegratedGPU: graph.Integrated,
		wgpu.AdapterType_CPU: graph.CPU, wgpu.AdapterType_Unknown: graph.Discrete,
	} {
		i := Info{Type: kind.String(), MaxBindingBytes: 1 << 20}
		assert.Equal(t, graph.Target{Adapter: want, MaxBinding: 1 << 20}, i.Target())
		assert.Equal(t, want == graph.CPU, i.Software())
	}
}
