package gpu_test

import (
	"context"
	"fmt"
	"log"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// A program is recorded without a device, loaded once and run for every input. Here
// each run adds its input to a State, which stays in the store.
func Example() {
	total := &graph.State{Name: "total", Spec: graph.Spec{Shape: graph.Shape{3}}}
	g := graph.New()
	sum := g.Add(g.State(total), g.Input("x", graph.Shape{3}, graph.F32))
	g.Assign(total, sum)
	program, err := g.Build(sum)
	if err != nil {
		log.Fatal(err)
	}

	device, err := gpu.Open(gpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer device.Close()
	store := device.NewStore()
	defer store.Close()
	session, err := device.Load(program, store)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()

	ctx := context.Background()
	for _, x := range [][]float32{{1, 2, 3}, {10, 20, 30}} {
		out := make([]float32, 3)
		io := gpu.IO{Inputs: map[string]any{"x": x}, Outputs: [][]float32{out}}
		if err := session.Run(ctx, io); err != nil {
			log.Fatal(err)
		}
		fmt.Println(out)
	}
	kept := make([]float32, 3)
	if err := store.Read(ctx, total, kept); err != nil {
		log.Fatal(err)
	}
	fmt.Println("kept:", kept)
	// Output:
	// [1 2 3]
	// [11 22 33]
	// kept: [11 22 33]
}
