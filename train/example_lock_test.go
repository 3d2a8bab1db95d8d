package train_test

import (
	"context"
	"fmt"
	"log"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// The text tower alone is fine-tuned: the image tower is locked with its statistics.
// The list is that of open_clip.
func Example_lockedImageTower() {
	cfg := tinyConfig()
	cfg.VisionCfg.Layers, cfg.TextCfg.Layers = []int{1}, 1
	model, err := clip.New(cfg, 42)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	model.LockImageTower(0, true)
	for name, p := range model.NamedParameters() {
		fmt.Println(name, p.RequiresGrad())
	}
	// Output:
	// positional_embedding true
	// text_projection true
	// logit_scale true
	// visual.class_embedding false
	// visual.positional_embedding false
	// visual.proj false
	// visual.conv1.weight false
	// visual.ln_pre.weight false
	// visual.ln_pre.bias false
	// visual.transformer.resblocks.0.ln_1.weight false
	// visual.transformer.resblocks.0.ln_1.bias false
	// visual.transformer.resblocks.0.attn.in_proj_weight false
	// visual.transformer.resblocks.0.attn.in_proj_bias false
	// visual.transformer.resblocks.0.attn.out_proj.weight false
	// visual.transformer.resblocks.0.attn.out_proj.bias false
	// visual.transformer.resblocks.0.ln_2.weight false
	// visual.transformer.resblocks.0.ln_2.bias false
	// visual.transformer.resblocks.0.mlp.c_fc.weight false
	// visual.transformer.resblocks.0.mlp.c_fc.bias false
	// visual.transformer.resblocks.0.mlp.c_proj.weight false
	// visual.transformer.resblocks.0.mlp.c_proj.bias false
	// visual.ln_post.weight false
	// visual.ln_post.bias false
	// transformer.resblocks.0.ln_1.weight true
	// transformer.resblocks.0.ln_1.bias true
	// transformer.resblocks.0.attn.in_proj_weight true
	// transformer.resblocks.0.attn.in_proj_bias true
	// transformer.resblocks.0.attn.out_proj.weight true
	// transformer.resblocks.0.attn.out_proj.bias true
	// transformer.resblocks.0.ln_2.weight true
	// transformer.resblocks.0.ln_2.bias true
	// transformer.resblocks.0.mlp.c_fc.weight true
	// transformer.resblocks.0.mlp.c_fc.bias true
	// transformer.resblocks.0.mlp.c_proj.weight true
	// transformer.resblocks.0.mlp.c_proj.bias true
	// token_embedding.weight true
	// ln_final.weight true
	// ln_final.bias true
}

// A step that needs little memory: the image tower is locked, the blocks keep no more
// than their inputs, and the towers see two pairs at a time.
func Example_microBatches() {
	ctx := context.Background()
	cfg := tinyConfig()
	cfg.VisionCfg.Layers, cfg.TextCfg.Layers = []int{1}, 1
	model, err := clip.New(cfg, 42)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	model.LockImageTower(0, true)
	model.SetGradCheckpointing(true)
	c := train.DefaultConfig()
	c.MicroBatch = 2
	trainer, err := train.New(model, c)
	if err != nil {
		log.Fatal(err)
	}
	defer trainer.Close()
	images, texts := tinyPairs(4)
	loss, err := trainer.Step(ctx, train.Batch{Images: images, Texts: texts})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss before step 1: %.1f\n", loss)
	// Output:
	// loss before step 1: 1.8
}
