"""Writes losses.safetensors: DistillClipLoss of open_clip with its gradients, and the
caption loss that oracle/coca_tiny recorded, with the logits and texts that it is of.

    python make_losses.py ../../../shared/oracle/coca_tiny
"""
import sys

import torch
from open_clip.loss import DistillClipLoss
from safetensors.torch import load_file, save_file

torch.manual_seed(0)


def features(width):
    return torch.nn.functional.normalize(torch.randn(5, width), dim=-1)


image, text = features(16).requires_grad_(), features(16).requires_grad_()
teacher_image, teacher_text = features(24), features(24)
scale, teacher_scale = torch.tensor(14.0, requires_grad=True), torch.tensor(30.0)
contrastive, distill = DistillClipLoss()(image, text, scale, teacher_image, teacher_text, teacher_scale)
(contrastive + distill).backward()
outputs = load_file(sys.argv[1] + "/outputs.safetensors")
save_file({
    "distill.image": image.detach(), "distill.text": text.detach(),
    "distill.teacher_image": teacher_image, "distill.teacher_text": teacher_text,
    "distill.scale": scale.detach().reshape(1), "distill.teacher_scale": teacher_scale.reshape(1),
    "distill.contrastive": contrastive.detach().reshape(1), "distill.distill": distill.detach().reshape(1),
    "distill.image_grad": image.grad, "distill.text_grad": text.grad, "distill.scale_grad": scale.grad.reshape(1),
    "caption.logits": outputs["logits"].contiguous(),
    "caption.text": load_file(sys.argv[1] + "/inputs.safetensors")["text"],
    "caption.loss": outputs["caption_loss"].reshape(1),
}, "losses.safetensors")
