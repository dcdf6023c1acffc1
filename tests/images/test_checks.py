import pandas as pd
import pytest

from tissue.common.errors import InputError
from tissue.images.checks import check_counts


def test_a_class_with_too_few_images_stops_the_run():
    index = pd.DataFrame({"class": list("aaabbb")})
    check_counts(index, 3, {"a", "b"})
    with pytest.raises(InputError, match=r"split\.min_per_class: .*Received: c 0"):
        check_counts(index, 3, {"a", "b", "c"})
    rejected = pd.DataFrame({"id": ["c/1.png", "c/2.png"], "reason": "is truncated"})
    with pytest.raises(InputError, match=r"c 0; 2 images cannot be used, e\.g\. c/1\.png: is trun"):
        check_counts(index, 3, {"a", "b", "c"}, rejected)
