import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ml.members import MEMBERS, build_member, load_start_weights


@pytest.mark.parametrize("name", MEMBERS)
def test_each_member_ends_in_global_average_pooling_and_one_linear_layer(name):
    member = build_member(MEMBERS[name]).eval()
    images = torch.rand(2, 3, 128, 128)
    with torch.inference_mode():
        features = member.body(images)
        expected = features.mean(dim=(2, 3)) @ member.head.weight.T + member.head.bias
        assert torch.allclose(member(images), expected, atol=1e-5)
    assert isinstance(member.head, nn.Linear)
    assert features.ndim == 4
    assert features.shape[-1] > 1


@pytest.mark.parametrize(
    ("name", "prefix"), [("efficientnet_b0", "features."), ("inception_v3", "")]
)
def test_start_weights_with_torchvision_names_fill_the_whole_body(name, prefix, tmp_path):
    source, target = build_member(MEMBERS[name]), build_member(MEMBERS[name])
    tensors = {f"{prefix}{key}": value.half() for key, value in source.body.state_dict().items()}
    save_file(tensors, tmp_path / "start.safetensors")
    load_start_weights(target, tmp_path / "start.safetensors")
    for key, value in target.body.state_dict().items():
        assert torch.equal(value, source.body.state_dict()[key].half().to(value.dtype)), key


def test_start_weights_that_lack_a_layer_are_refused(tmp_path):
    tensors = build_member(MEMBERS["efficientnet_b0"]).body.state_dict()
    del tensors["8.0.weight"]
    save_file(tensors, tmp_path / "start.safetensors")
    with pytest.raises(RuntimeError, match="Missing key"):
        load_start_weights(build_member(MEMBERS["efficientnet_b0"]), tmp_path / "start.safetensors")
