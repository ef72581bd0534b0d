def test_the_review_queue_lists_a_waiting_case(world, signed_in) -> None:
    case = world.screened(world.alice)

    page = signed_in("bob").get("/review")

    assert page.status_code == 200
    assert case[:4].upper() in page.text
