"""Export a pathology foundation model: `python docs/export_backbone.py uni models/uni.onnx`.

The first argument is uni, phikon, h_optimus_0 or virchow. It needs an environment of its own, see
docs/backbones.md; nothing else of this project is used.
"""

import hashlib
import sys
from pathlib import Path

import timm
import torch
from timm.layers import SwiGLUPacked

PLAIN = {"init_values": 1e-5, "dynamic_img_size": False}
NETWORKS = {
    "uni": ("hf-hub:MahmoodLab/uni", PLAIN),
    "h_optimus_0": ("hf-hub:bioptimus/H-optimus-0", PLAIN),
    "virchow": ("hf-hub:paige-ai/Virchow", {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU}),
}


class Features(torch.nn.Module):
    """Images (N, 3, 224, 224) to features (N, D)."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        """Return what the model's card takes for the features."""
        output = self.network(images)
        if hasattr(output, "last_hidden_state"):  # Phikon
            return output.last_hidden_state[:, 0]
        if output.ndim == 3:  # Virchow
            return torch.cat([output[:, 0], output[:, 1:].mean(dim=1)], dim=-1)
        return output


name, path = sys.argv[1], Path(sys.argv[2])
if name == "phikon":
    from transformers import AutoModel

    network = AutoModel.from_pretrained("owkin/phikon", add_pooling_layer=False)
else:
    address, options = NETWORKS[name]
    network = timm.create_model(address, pretrained=True, num_classes=0, **options)
    config = timm.data.resolve_data_config(network.pretrained_cfg, model=network)
    print("mean:", config["mean"], "std:", config["std"], "size:", config["input_size"])
path.parent.mkdir(parents=True, exist_ok=True)
torch.onnx.export(
    Features(network).eval(),
    (torch.zeros(2, 3, 224, 224),),
    path,
    input_names=["image"],
    output_names=["features"],
    dynamic_shapes={"images": {0: torch.export.Dim("n")}},
    external_data=True,
)
files = [path, *path.parent.glob(f"{path.name}.data")]
print("sha256:", hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest())
