"""An image as a file that is sent to a model."""

import io

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from db3.errors import ConfigError
from db3.pixels import to_bytes


def encode_picture(image: Float[Tensor, "c h w"], kind: str) -> bytes:
    """A grey or colour picture of an image in [0, 1], its pixels rounded to 1/255; JPEG at quality 100."""
    pixels = to_bytes(image)
    if pixels.shape[0] not in (1, 3):
        raise ConfigError(
            f"images have {pixels.shape[0]} channels; expected 1 or 3 for a picture: set dataset.channels"
        )
    array = pixels[0].numpy() if pixels.shape[0] == 1 else pixels.permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    more = {"quality": 100, "subsampling": 0} if kind == "jpeg" else {"compress_level": 1}
    Image.fromarray(array).save(file, kind.upper(), **more)
    return file.getvalue()
