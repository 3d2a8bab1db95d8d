// Package gpu runs Programs on a GPU. Only it and the packages below it see the
// WebGPU binding; it turns what that lets crash the process into errors.
//
// A Device holds compiled kernels and memory; a Store holds the States that
// outlive a run, parameters among them; a Session is a Program made ready to
// run: Load allocates everything, Run replays it. All are safe for concurrent
// use. On one device runs follow one another, in the order in which they come: a
// GPU gets the next while it executes the one before, so to keep it busy, call
// Run from two goroutines.
package gpu

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/graph/packing"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
)

// Options choose and limit a device. The zero value takes the best adapter.
type Options struct {
	Adapter       string // index, or part of a name in any case: of several, the best; "" is the best of all
	DefaultLimits bool   // WebGPU's default limits, and no features, instead of the adapter's own: what every GPU can do
	MaxMemory     int64  // bytes of device memory that may be in use at once; 0 is no limit

	// MaxBinding, unless it is 0, lowers Info.MaxBindingBytes, so that tests see
	// small tensors in chunks.
	MaxBinding int64
	// Arrangement, unless it is the zero one, replaces what the device chooses for
	// packed weights, so that tests see another.
	Arrangement packing.Arrangement

	// Check fills activations with NaN before every run and fails a run in
	// which a kernel wrote outside its tensors. Slow; for tests.
	Check bool

	depth int // submissions in flight, where a test wants other than maxInFlight
}

// Info describes an adapter, or the device opened on it, and what it allows.
type Info struct {
	Index                         int // for Options.Adapter
	Name, Driver, Backend, Type   string
	Compiler                      string // of kernels, where it is Microsoft's: "FXC", on DX12
	MaxBufferBytes                int64  // of one buffer
	MaxBindingBytes               int64  // of one tensor
	MaxStorageBuffers             int    // that one kernel binds
	MaxSharedBytes                int    // of workgroup memory
	MaxInvocations, MaxWorkgroups int    // of a workgroup; of a dispatch in each dimension
	Timestamps                    bool   // the GPU's own clock is there for Session.Profile
}

// Software reports whether the adapter is a driver that computes on the CPU.
func (i Info) Software() bool { return i.Type == wgpu.AdapterType_CPU.String() }

func (i Info) dx12() bool { return i.Backend == wgpu.BackendType_D3D12.String() }

// Target is what programs for the device are lowered for.
func (i Info) Target() graph.Target {
	t := graph.Target{DX12: i.dx12(), MaxBinding: i.MaxBindingBytes}
	switch i.Type {
	case wgpu.AdapterType_CPU.String():
		t.Adapter = graph.CPU
	case wgpu.AdapterType_IntegratedGPU.String():
		t.Adapter = graph.Integrated
	}
	return t
}

const (
	unlimited   = 1 << 62        // bytes, where an adapter says that it has no limit
	addressable = math.MaxUint32 // bytes of a binding: kernels count them in 32 bits
)

func (i Info) withLimits(l wgpu.Limits) Info {
	i.MaxBufferBytes = int64(min(l.MaxBufferSize, unlimited)) &^ 3
	i.MaxBindingBytes = min(int64(min(l.MaxStorageBufferBindingSize, addressable))&^3, i.MaxBufferBytes)
	i.MaxStorageBuffers = int(l.MaxStorageBuffersPerShaderStage)
	i.MaxSharedBytes = int(l.MaxComputeWorkgroupStorageSize)
	i.MaxInvocations = int(l.MaxComputeInvocationsPerWorkgroup)
	i.MaxWorkgroups = int(l.MaxComputeWorkgroupsPerDimension)
	return i
}

func init() { wgpu.SetLogLevel(wgpu.LogLevel_Off) }

// backends leaves OpenGL out: without a display it prints to stderr or aborts.
const backends = wgpu.InstanceBackend_Primary

// adapters lists what there is, on an instance that the caller releases.
func adapters() (*wgpu.Instance, []*wgpu.Adapter, error) {
	instance := wgpu.CreateInstance(&wgpu.InstanceDescriptor{Backends: backends})
	list := instance.EnumerateAdapters(&wgpu.InstanceEnumerateAdapterOptons{Backends: backends})
	if len(list) == 0 {
		instance.Release()
		return nil, nil, fmt.Errorf("%w: %s", ErrNoDriver, driverHint())
	}
	return instance, list, nil
}

func driverHint() string {
	switch runtime.GOOS {
	case "darwin":
		return "looked for Metal, which needs macOS 10.13 or later"
	case "windows":
		return "looked for Vulkan and DirectX 12: install the graphics card maker's driver"
	}
	looked := "looked for Vulkan drivers in /usr/share/vulkan/icd.d and /etc/vulkan/icd.d"
	for _, name := range []string{"VK_DRIVER_FILES", "VK_ICD_FILENAMES"} {
		if v := os.Getenv(name); v != "" {
			looked = fmt.Sprintf("looked for Vulkan drivers in %s=%s", name, v)
			break
		}
	}
	return looked + ": install the graphics card maker's driver, or a software one (Debian, Ubuntu: apt install mesa-vulkan-drivers)"
}

func describe(index int, a *wgpu.Adapter) Info {
	p := a.GetProperties()
	info := Info{
		Index:      index,
		Name:       p.Name,
		Driver:     p.DriverDescription,
		Backend:    p.BackendType.String(),
		Type:       p.AdapterType.String(),
		Timestamps: a.HasFeature(wgpu.FeatureName_TimestampQuery),
	}
	if info.dx12() {
		info.Compiler = "FXC" // the library is built without its way to DXC
	}
	return info.withLimits(a.GetLimits().Limits)
}

// Adapters lists what Open can choose from. It returns ErrNoDriver when there is nothing.
func Adapters() ([]Info, error) {
	instance, list, err := adapters()
	if err != nil {
		return nil, err
	}
	defer instance.Release()
	infos := make([]Info, len(list))
	for i, a := range list {
		infos[i] = describe(i, a)
		a.Release()
	}
	return infos, nil
}

// Open opens a device. The caller closes it. ErrNoDriver means that there is no adapter at all.
// What the environment variable CLIPWGPU asks for and is not there is an error.
func Open(o Options) (*Device, error) {
	watch, err := debugSwitch()
	if err != nil {
		return nil, err
	}
	instance, list, err := adapters()
	if err != nil {
		return nil, err
	}
	infos := make([]Info, len(list))
	for i, a := range list {
		infos[i] = describe(i, a)
	}
	chosen, err := Choose(infos, o.Adapter)
	for i, a := range list {
		if err != nil || i != chosen {
			a.Release()
		}
	}
	if err != nil {
		instance.Release()
		return nil, err
	}
	c := &core{
		instance:  instance,
		adapter:   list[chosen],
		info:      infos[chosen],
		options:   o,
		debug:     watch,
		run:       await.NewLock(),
		depth:     cmp.Or(o.depth, maxInFlight(infos[chosen])),
		calls:     await.NewLock(),
		pipelines: map[string]*pipeline{},
		refs:      1,
	}
	if err := c.open(); err != nil {
		c.destroy()
		return nil, fmt.Errorf("%w (adapter %s)", err, c.info.Name)
	}
	return &Device{core: c}, nil
}

// Choose returns the index of the adapter that want means, as Options.Adapter says. An
// adapter with just that name comes before those whose names contain it: "RTX 4060" is
// not an "RTX 4060 Ti". An error lists what there is.
func Choose(infos []Info, want string) (int, error) {
	named := func(fits func(name string) bool) int {
		best := -1
		for i, info := range infos {
			if fits(info.Name) && (best < 0 || rank(info) < rank(infos[best])) {
				best = i
			}
		}
		return best
	}
	part, shown := strings.ToLower(strings.TrimSpace(want)), strconv.Quote(want)
	chosen := -1
	switch {
	case want == "":
		chosen = named(func(string) bool { return true })
	case isNumber(part):
		shown = part
		if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(infos) {
			chosen = i
		}
	case part != "":
		chosen = named(func(name string) bool { return strings.EqualFold(name, part) })
		if chosen < 0 {
			chosen = named(func(name string) bool { return strings.Contains(strings.ToLower(name), part) })
		}
	}
	if chosen >= 0 {
		return chosen, nil
	}
	list := make([]string, len(infos))
	for i, info := range infos {
		list[i] = fmt.Sprintf("%d: %s", i, info.Name)
	}
	return 0, fmt.Errorf("no adapter %s, choose from %s", shown, strings.Join(list, ", "))
}

// isNumber reports whether s is a number. A number is never taken as part of a
// name: 3060 is no index, and to guess a card from it would hide a mistake.
func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return strings.ContainsAny(s, "0123456789") && !errors.Is(err, strconv.ErrSyntax)
}

// rank orders adapters, best first. Where a card offers Vulkan and DX12, Vulkan is
// better: its drivers keep compiled kernels.
func rank(i Info) int {
	order := 0
	if i.dx12() {
		order = 1
	}
	switch i.Type {
	case wgpu.AdapterType_DiscreteGPU.String():
		return order
	case wgpu.AdapterType_IntegratedGPU.String():
		return 2 + order
	case wgpu.AdapterType_CPU.String():
		return 6 + order
	}
	return 4 + order
}
