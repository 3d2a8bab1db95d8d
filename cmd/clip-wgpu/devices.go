package main

import (
	"fmt"

	"github.com/clip-wgpu/clip-wgpu/gpu"
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
