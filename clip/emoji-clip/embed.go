// Package emojiclip embeds a small CLIP model, made for this repository: it knows
// emoji and icon drawings by their English names and has never seen a photograph.
package emojiclip

import "embed"

// Files are the model's, in open_clip's layout.
//
//go:embed open_clip_config.json open_clip_model.safetensors vocab.json merges.txt
var Files embed.FS

// Examples are the pictures that it is shown with, in the folder examples.
//
//go:embed examples/*.png
var Examples embed.FS
