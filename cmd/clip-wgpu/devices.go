package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/internal/smallfile"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
	"github.com/spf13/cobra"
)

func newDevicesCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "devices",
		Short: "List the GPUs that --device chooses from",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			adapters, err := interruptible(cmd.Context(), gpu.Adapters)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			for _, a := range adapters {
				if g.json {
					err = newJSONLines(w).Encode(newDevice(a))
				} else {
					_, err = fmt.Fprintf(w, "%d  %s  (%s, %s, %s; buffers up to %d MiB, bindings up to %d MiB)\n",
						a.Index, a.Name, a.Type, backendOf(a), a.Driver, a.MaxBufferBytes>>20, a.MaxBindingBytes>>20)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// backendOf names an adapter's backend and, on DX12, what compiles the kernels.
func backendOf(a gpu.Info) string {
	if a.Compiler == "" {
		return a.Backend
	}
	return a.Backend + " by " + a.Compiler
}

// device is an adapter as --json shows it.
type device struct {
	Index             int    `json:"index"`
	Name              string `json:"name"`
	Type              string `json:"type"`
	Backend           string `json:"backend"`
	Compiler          string `json:"compiler,omitempty"`
	Driver            string `json:"driver"`
	MaxBufferBytes    int64  `json:"max_buffer_bytes"`
	MaxBindingBytes   int64  `json:"max_binding_bytes"`
	MaxStorageBuffers int    `json:"max_storage_buffers"`
	MaxSharedBytes    int    `json:"max_shared_bytes"`
	MaxInvocations    int    `json:"max_invocations"`
	MaxWorkgroups     int    `json:"max_workgroups"`
}

func newDevice(i gpu.Info) device {
	return device{
		Index: i.Index, Name: i.Name, Type: i.Type, Backend: i.Backend, Compiler: i.Compiler, Driver: i.Driver,
		MaxBufferBytes: i.MaxBufferBytes, MaxBindingBytes: i.MaxBindingBytes, MaxStorageBuffers: i.MaxStorageBuffers,
		MaxSharedBytes: i.MaxSharedBytes, MaxInvocations: i.MaxInvocations, MaxWorkgroups: i.MaxWorkgroups,
	}
}

func (d device) info() gpu.Info {
	return gpu.Info{
		Index: d.Index, Name: d.Name, Type: d.Type, Backend: d.Backend, Compiler: d.Compiler, Driver: d.Driver,
		MaxBufferBytes: d.MaxBufferBytes, MaxBindingBytes: d.MaxBindingBytes, MaxStorageBuffers: d.MaxStorageBuffers,
		MaxSharedBytes: d.MaxSharedBytes, MaxInvocations: d.MaxInvocations, MaxWorkgroups: d.MaxWorkgroups,
	}
}

// maxLimits bounds a file that devices --json wrote: a line a device.
const maxLimits = 1 << 20

// leastLimits are WebGPU's default limits, which every device keeps (section 3.6.2 of
// its specification).
var leastLimits = device{
	MaxBufferBytes: 256 << 20, MaxBindingBytes: 128 << 20, MaxStorageBuffers: 8,
	MaxSharedBytes: 16 << 10, MaxInvocations: 256, MaxWorkgroups: 65535,
}

// checkLimits refuses what no device has.
func (d device) checkLimits() error {
	for _, l := range []struct {
		key       string
		has, want int64
	}{
		{"max_buffer_bytes", d.MaxBufferBytes, leastLimits.MaxBufferBytes},
		{"max_binding_bytes", d.MaxBindingBytes, leastLimits.MaxBindingBytes},
		{"max_storage_buffers", int64(d.MaxStorageBuffers), int64(leastLimits.MaxStorageBuffers)},
		{"max_shared_bytes", int64(d.MaxSharedBytes), int64(leastLimits.MaxSharedBytes)},
		{"max_invocations", int64(d.MaxInvocations), int64(leastLimits.MaxInvocations)},
		{"max_workgroups", int64(d.MaxWorkgroups), int64(leastLimits.MaxWorkgroups)},
	} {
		if l.has < l.want {
			return fmt.Errorf("%s is %d, every device has %d or more", l.key, l.has, l.want)
		}
	}
	return nil
}

// readLimits reads the limits that --limits names: WebGPU's defaults, or those of the
// device in a file that adapter chooses as --device does.
func readLimits(limits, adapter string) (gpu.Info, error) {
	if limits == "default" {
		return leastLimits.info(), nil
	}
	infos, err := readDevices(limits)
	if err != nil {
		return gpu.Info{}, fmt.Errorf("--limits %s: %w", limits, err)
	}
	i, err := gpu.Choose(infos, adapter)
	if err != nil {
		return gpu.Info{}, fmt.Errorf("--limits %s: %w", limits, err)
	}
	return infos[i], nil
}

func readDevices(file string) (infos []gpu.Info, err error) {
	data, err := smallfile.Read(file, maxLimits)
	if err != nil {
		return nil, err
	}
	lines := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	for {
		var line json.RawMessage
		switch err := lines.Decode(&line); {
		case errors.Is(err, io.EOF) && infos == nil:
			return nil, errors.New("holds no device: want lines that devices --json wrote")
		case errors.Is(err, io.EOF):
			return infos, nil
		case err != nil:
			return nil, errors.New("want lines that devices --json wrote")
		}
		var d device
		if err := strictjson.Struct(line, &d); err != nil {
			return nil, err
		}
		if err := d.checkLimits(); err != nil {
			return nil, err
		}
		infos = append(infos, d.info())
	}
}
