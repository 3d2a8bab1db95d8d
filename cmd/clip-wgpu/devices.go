package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/internal/smallfile"
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
						a.Index, a.Name, a.Type, a.Backend, a.Driver, a.MaxBufferBytes>>20, a.MaxBindingBytes>>20)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// device is an adapter as --json shows it.
type device struct {
	Index             int    `json:"index"`
	Name              string `json:"name"`
	Type              string `json:"type"`
	Backend           string `json:"backend"`
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
		Index: i.Index, Name: i.Name, Type: i.Type, Backend: i.Backend, Driver: i.Driver,
		MaxBufferBytes: i.MaxBufferBytes, MaxBindingBytes: i.MaxBindingBytes, MaxStorageBuffers: i.MaxStorageBuffers,
		MaxSharedBytes: i.MaxSharedBytes, MaxInvocations: i.MaxInvocations, MaxWorkgroups: i.MaxWorkgroups,
	}
}

func (d device) info() gpu.Info {
	return gpu.Info{
		Index: d.Index, Name: d.Name, Type: d.Type, Backend: d.Backend, Driver: d.Driver,
		MaxBufferBytes: d.MaxBufferBytes, MaxBindingBytes: d.MaxBindingBytes, MaxStorageBuffers: d.MaxStorageBuffers,
		MaxSharedBytes: d.MaxSharedBytes, MaxInvocations: d.MaxInvocations, MaxWorkgroups: d.MaxWorkgroups,
	}
}

// maxLimits bounds a file that devices --json wrote: a line a device.
const maxLimits = 1 << 20

// readLimits reads the limits that --limits names: WebGPU's defaults, or those of the
// device in a file that adapter chooses as --device does.
func readLimits(limits, adapter string) (gpu.Info, error) {
	if limits == "default" {
		return gpu.Info{MaxBufferBytes: 256 << 20, MaxBindingBytes: 128 << 20}, nil // WebGPU's, section 3.6.2
	}
	data, err := smallfile.Read(limits, maxLimits)
	if err != nil {
		return gpu.Info{}, fmt.Errorf("--limits: %w", err)
	}
	var infos []gpu.Info
	for lines := json.NewDecoder(bytes.NewReader(data)); ; {
		var d device
		err := lines.Decode(&d)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || d.MaxBindingBytes <= 0 || d.MaxBufferBytes <= 0 {
			return gpu.Info{}, fmt.Errorf("--limits %s: want lines that devices --json wrote, with max_binding_bytes and max_buffer_bytes", limits)
		}
		infos = append(infos, d.info())
	}
	i, err := gpu.Choose(infos, adapter)
	if err != nil {
		return gpu.Info{}, fmt.Errorf("--limits %s: %w", limits, err)
	}
	return infos[i], nil
}
