// Package train fine-tunes CLIP models on the device, as open_clip_train does.
//
// A Trainer belongs to a Model and a Config. Its Step makes one update from a Batch: n
// images and their texts. The Config's Loss says what is made small: ClipLoss,
// SigLipLoss, DistillClipLoss or one of your own. Its Optimizer says how parameters
// follow their gradients: AdamW or SGD, and Scheduled around them for a learning rate
// that follows a Schedule. Gradients gives the gradients alone.
//
// Which parameters train is the model's: LockImageTower and LockTextTower freeze some,
// CastFrozen stores those in fewer bits. SetGradCheckpointing and Config.MicroBatch save
// memory. The loss is always over the whole Batch. NewPlan says beforehand what a step
// takes, without a device. All of these come before New.
//
// Config also clips gradients (GradClipNorm), slows down lower layers (ImageLayerDecay,
// TextLayerDecay), chooses what decays (Decays) and keeps averages of the parameters
// (EMADecay, EMA). Save writes all that a training goes on from to one file, Resume reads
// it. State and LoadState are the optimizer's part of it, in memory. To use the trained
// model elsewhere, call the model's own Save.
package train
